//! Whose camera it is: this recorder's own, or a guest, which is recorded in the place of another recorder.

use std::sync::Arc;

use keepwatch_model::{CameraId, Origin, RoleId, StreamId};
use keepwatch_store::Hold;

use crate::guests::News;

/// The recorder that a guest belongs to.
#[derive(Clone, Debug)]
pub(crate) struct GuestOf {
    /// Its role.
    pub(crate) role: RoleId,
    /// The camera's id there.
    pub(crate) camera: CameraId,
    /// Where it is told what of the guest is on disk.
    pub(crate) news: Arc<News>,
    /// Where footage of its main and its sub stream waits that may be needed.
    pub(crate) holds: [Hold; 2],
}

impl GuestOf {
    /// Where footage of a stream waits.
    pub(super) fn hold(&self, stream: StreamId) -> &Hold {
        let [main, sub] = &self.holds;
        if stream == StreamId::MAIN { main } else { sub }
    }
}

/// Who records, as it stands in each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Provenance {
    pub(crate) origin: Origin,
    /// The recorder in whose place.
    pub(crate) replaces: Option<RoleId>,
}

impl Provenance {
    /// That of footage of a camera which is a guest, or is not.
    pub(crate) fn of(guest: Option<&GuestOf>) -> Self {
        guest.map_or_else(Self::default, |guest| Self { origin: Origin::Standby, replaces: Some(guest.role) })
    }
}
