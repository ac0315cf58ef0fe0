//! The recorder's answers to the RTSP server: who is known, and what is under a path.

use std::sync::Arc;

use keepwatch_rtsp::Secret;
use keepwatch_rtsp::server::{OpenRequest, Refusal, Service, Source};
use tokio::sync::watch;

use super::access::Access;
use super::live::LiveSource;
use super::path::{Place, Time};
use super::recorded::{Library, RecordedSource, Right};
use crate::camera::Registry;

/// Serves the cameras of a node.
pub(super) struct Shop {
    pub(super) cameras: Arc<Registry>,
    pub(super) access: watch::Receiver<Arc<Access>>,
    pub(super) library: Library,
}

impl Service for Shop {
    fn password(&self, user: &str) -> Option<Secret> {
        self.access.borrow().password(user)
    }

    fn needs_login(&self) -> bool {
        true
    }

    /// A camera that the user may not see is not told apart from one that does not exist: which cameras there are is
    /// for those to know who may see them.
    fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal> {
        let Place { camera, stream, time } = Place::parse(request.path).ok_or(Refusal::NotFound)?;
        let access = self.access.borrow().clone();
        let viewer = request.user.and_then(|user| access.admit(user, camera)).ok_or(Refusal::NotFound)?;
        let state = self.cameras.find(camera).ok_or(Refusal::NotFound)?;
        let stream = Arc::clone(state.stream(stream).ok_or(Refusal::NotFound)?);
        let right = Right { access: self.access.clone(), viewer, camera };
        if let Time::Recorded { at: Some(at) } = time {
            return Ok(Box::new(RecordedSource::at(self.library.clone(), right, stream, at)));
        }
        let tracks = stream.hub().tracks().ok_or(Refusal::Unavailable)?;
        Ok(match time {
            Time::Live => {
                Box::new(LiveSource::new(right, tracks, Arc::clone(stream.hub()), self.library.clock))
            }
            Time::Recorded { .. } => {
                Box::new(RecordedSource::new(self.library.clone(), right, stream, tracks))
            }
        })
    }
}
