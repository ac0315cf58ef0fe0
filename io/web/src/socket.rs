//! The Unix socket in the data directory: how the command line reaches a running node.
//!
//! The file has mode 0600 and the kernel names each peer, so nobody logs in here. A socket file left by a node that
//! was killed is replaced; one that a running node listens on is not.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::WebError;

/// Longest path of a Unix socket in bytes on Linux: `sun_path` less its end (unix(7)).
pub(crate) const PATH_BYTES_MAX: usize = 107;

/// A bound socket; removes its file when dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    pub(crate) file: SocketFile,
}

/// The file of a socket that this process bound.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Who owns it: this process's user.
    pub(crate) owner: u32,
}

impl Socket {
    /// Binds `path`, replacing what a killed node left.
    pub(crate) async fn bind(path: &Path) -> Result<Self, WebError> {
        let length = path.as_os_str().len();
        if length > PATH_BYTES_MAX {
            return Err(WebError::SocketPathTooLong { path: path.to_owned(), length });
        }
        let failed = |source| WebError::Socket { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(WebError::SocketTaken { path: path.to_owned() });
            }
            Ok(_) => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(WebError::AlreadyRunning { path: path.to_owned() });
                }
                fs::remove_file(path).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Between bind and this line others may connect, but the kernel's word on who they are decides, not the mode.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let found = fs::symlink_metadata(path).map_err(failed)?;
        let file =
            SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino(), owner: found.uid() };
        Ok(Self { listener, file })
    }
}

impl SocketFile {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another node may have put its own socket here meanwhile.
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if ours {
            // A file that stays behind is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}
