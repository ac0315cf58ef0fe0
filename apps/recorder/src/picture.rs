//! Single pictures: the newest of a camera, or the one that shows an instant of the past, as JPEG files.
//!
//! What is stored is decoded in processes of their own (`io/picture`). Motion JPEG is delivered as it is stored. Of H.264
//! whose pictures are reordered only key frames are shown, with their own time; of H.265 none: the sub stream is asked
//! instead, and for the newest picture the camera itself.

mod find;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepwatch_media::jpeg;
use keepwatch_model::{CameraId, CodecKind, MonoTime, StreamId, WallTime};
use keepwatch_picture::{Coding, PictureError, Pictures, Request, WorkerCommand};
use keepwatch_store::ReadError;
use tokio::sync::OnceCell;

use self::find::with_parameter_sets;
pub(crate) use self::find::{Found, Means, Search, find};
use crate::Node;
use crate::camera::KeyPicture;
use crate::footage::FootageError;

/// Argument with which the program starts itself as a worker.
const WORKER_ARGUMENT: &str = "picture-worker";
/// How long the newest picture of a camera is shown to whoever asks.
const NEWEST_FOR: Duration = Duration::from_secs(1);

/// Why a picture is not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShowError {
    /// The records cannot be found.
    #[error(transparent)]
    Find(#[from] FootageError),
    /// A record cannot be read.
    #[error("the footage at {at} cannot be read: {source}")]
    Read {
        /// Its label.
        at: WallTime,
        /// Why.
        source: ReadError,
    },
    /// What is stored is no JPEG file.
    #[error("what came from the camera is no whole JPEG file")]
    Jpeg,
    /// Of a coding that is not decoded here.
    #[error("footage of H.265 is not decoded here")]
    Coding,
    /// It cannot be decoded.
    #[error(transparent)]
    Decode(#[from] PictureError),
    /// Work was interrupted.
    #[error("the picture could not be read; the node's log says why")]
    Interrupted,
}

/// A picture that is shown.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// Its own time.
    pub(crate) label: WallTime,
    /// The stream that it is of.
    pub(crate) stream: StreamId,
    /// The JPEG file.
    pub(crate) file: bytes::Bytes,
}

/// Which newest picture.
type NewestKey = (CameraId, StreamId, u16);

/// A newest picture that is being made, or was.
#[derive(Debug)]
struct Newest {
    since: MonoTime,
    shown: OnceCell<Shown>,
}

/// Where pictures are made.
#[derive(Debug)]
pub(crate) struct Desk {
    pictures: Pictures,
    newest: Mutex<BTreeMap<NewestKey, Arc<Newest>>>,
}

impl Desk {
    /// Within a runtime of tokio.
    pub(crate) fn new() -> Self {
        Self {
            pictures: Pictures::new(WorkerCommand::this_program(WORKER_ARGUMENT)),
            newest: Mutex::default(),
        }
    }

    /// The picture that was found, for `user`, at most `width` pixels wide unless that is 0.
    pub(crate) async fn show(
        &self,
        node: &Node,
        user: &str,
        found: Found,
        width: u16,
    ) -> Result<Shown, ShowError> {
        let (label, stream, means) = (found.label, found.stream, found.means);
        let place = node.read_place().await;
        let store = node.store().clone();
        let units = tokio::task::spawn_blocking(move || {
            let _place = place;
            found.read(&store)
        });
        let units = units.await.map_err(|error| {
            tracing::error!(%error, "reading a picture ended badly");
            ShowError::Interrupted
        })??;
        let file = match means {
            Means::AsStored => {
                let file = units.into_iter().next_back().unwrap_or_default();
                self.show_file(user, file.into(), width).await?
            }
            Means::Decoded => self.make(user, Request { coding: Coding::H264, width, units }).await?,
        };
        Ok(Shown { label, stream, file })
    }

    /// A picture that decoding can start at, and that is not stored.
    pub(crate) async fn show_key(
        &self,
        user: &str,
        key: KeyPicture,
        width: u16,
    ) -> Result<bytes::Bytes, ShowError> {
        let KeyPicture { config, data } = key;
        match config.kind {
            CodecKind::Jpeg => self.show_file(user, data.into(), width).await,
            CodecKind::H264 => {
                let units = vec![with_parameter_sets(&config, data)];
                self.make(user, Request { coding: Coding::H264, width, units }).await
            }
            CodecKind::H265 | CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac | CodecKind::Metadata => {
                Err(ShowError::Coding)
            }
        }
    }

    /// A JPEG file as it is, or scaled down where it is wider.
    pub(crate) async fn show_file(
        &self,
        user: &str,
        file: bytes::Bytes,
        width: u16,
    ) -> Result<bytes::Bytes, ShowError> {
        let size = whole_jpeg(&file).ok_or(ShowError::Jpeg)?;
        if width == 0 || size.0 <= width {
            return Ok(file);
        }
        self.make(user, Request { coding: Coding::Jpeg, width, units: vec![file.into()] }).await
    }

    async fn make(&self, user: &str, request: Request) -> Result<bytes::Bytes, ShowError> {
        Ok(self.pictures.make(user, request).await?.file.into())
    }

    /// The newest picture, which all who ask within a second share; `make` makes it.
    pub(crate) async fn newest<E>(
        &self,
        key: NewestKey,
        now: MonoTime,
        make: impl Future<Output = Result<Shown, E>>,
    ) -> Result<Shown, E> {
        let newest = {
            let mut all = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, newest| now.since(newest.since) < NEWEST_FOR);
            let fresh = || Arc::new(Newest { since: now, shown: OnceCell::new() });
            Arc::clone(all.entry(key).or_insert_with(fresh))
        };
        newest.shown.get_or_try_init(|| make).await.cloned()
    }
}

/// Width and height of a JPEG file that has all that a browser needs: tables, picture and end.
fn whole_jpeg(file: &[u8]) -> Option<(u16, u16)> {
    /// Markers of quantization and of Huffman tables (T.81 table B.1).
    const TABLES: [u8; 2] = [0xdb, 0xc4];
    let ends = file.ends_with(&[0xff, 0xd9]);
    let has =
        |marker| jpeg::segments(file.get(2..).unwrap_or_default()).any(|segment| segment.marker == marker);
    (ends && TABLES.into_iter().all(has)).then(|| jpeg::size(file))?
}
