//! What this recorder says of itself: who it is, and whether its pictures reach its disks.
//!
//! A check is asked by several standbys several times a second, so it takes nothing but short locks.

use keepwatch_model::GapReason;
use keepwatch_recording::peer::{
    CameraCheck, Check, Hello, NodePublic, PRODUCT, PROTOCOL, RecordedSpan, VERSION,
};
use keepwatch_recording::watermark::Standing;
use keepwatch_web::Problem;

use crate::{CameraState, Connection, Node, StreamState};

impl Node {
    /// Who this node is; `key` is its own.
    pub(super) fn hello(&self, key: NodePublic) -> Result<Hello, Problem> {
        let peers = self.peers();
        if let Some(why) = peers.problem() {
            return Err(Problem::unavailable("nodes_unreadable", why));
        }
        let (role, epoch) = peers.role();
        Ok(Hello {
            product: PRODUCT.to_owned(),
            version: VERSION.to_owned(),
            protocol: PROTOCOL,
            name: self.name(),
            mac: peers.hardware_address(),
            role,
            epoch,
            key,
            standby: peers.is_standby(),
            watched_by: peers.standbys().into_iter().map(|standby| standby.name).collect(),
        })
    }

    /// Whether the pictures of its own cameras reach its disks.
    pub(super) fn check(&self) -> Check {
        let (role, epoch) = self.peers().role();
        let cameras = self.own_cameras().into_iter().filter_map(|id| self.camera(id));
        let cameras = cameras.map(|camera| check_camera(&camera)).collect();
        Check { role, epoch, version: VERSION.to_owned(), protocol: PROTOCOL, cameras }
    }
}

fn check_camera(camera: &CameraState) -> CameraCheck {
    CameraCheck {
        camera: camera.id,
        bits_per_second: bits_per_second(camera),
        recorded: recorded(camera.main()),
    }
}

/// What all streams of a camera take.
pub(super) fn bits_per_second(camera: &CameraState) -> u64 {
    camera.streams().fold(0, |sum: u64, stream| sum.saturating_add(stream.bits_per_second()))
}

/// Whether the pictures of a stream reach the disk.
fn recorded(stream: &StreamState) -> RecordedSpan {
    let standing = Standing::of(&stream.ledger());
    match (standing, stream.newest()) {
        (Standing::NotWanted, _) => RecordedSpan::NotWanted,
        (Standing::Missing(reason), _) => RecordedSpan::Missing(reason),
        (Standing::Unbroken, Some(newest)) => RecordedSpan::Durable { from: newest.from, until: newest.to },
        (Standing::Unbroken | Standing::NotYet, _) => RecordedSpan::Missing(why(stream.connection().0)),
    }
}

/// Why nothing is on disk of a stream that is to be recorded.
fn why(connection: Connection) -> GapReason {
    match connection {
        Connection::Waiting(reason) | Connection::Connected(reason) => reason,
        Connection::Connecting => GapReason::ConnectionLost,
        Connection::Unwanted | Connection::Recording | Connection::Buffered => GapReason::CameraSilent,
    }
}
