//! What this recorder says of itself: who it is, and whether its pictures reach its disks.
//!
//! A check is asked by several standbys several times a second, so it takes nothing but short locks.

use keepwatch_model::{GapReason, Span, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::peer::{
    CameraCheck, CameraMissing, Check, Hello, Missing, NodePublic, PRODUCT, PROTOCOL, RecordedSpan, VERSION,
};
use keepwatch_recording::watermark::Standing;
use keepwatch_web::Problem;
use serde::Deserialize;

use crate::{CameraState, Connection, Node, StreamState};

/// Longest time that is asked about: a failover and the repair of its primary.
const WINDOW_TICKS_MAX: i64 = 31 * 86_400 * TICKS_PER_SECOND;

/// Of which time is told what is missing.
#[derive(Debug, Deserialize)]
pub(super) struct MissingQuery {
    /// By the clock of who asks.
    from: WallTime,
    to: WallTime,
    /// What that clock shows at the moment.
    clock: WallTime,
}

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

    /// Whether the pictures of its own cameras reach its disks. For those that edge nodes send a standby has nothing to do.
    pub(super) fn check(&self) -> Check {
        let (role, epoch) = self.peers().role();
        let cameras = self.own_cameras().into_iter().filter_map(|id| self.camera(id));
        let cameras = cameras.filter(|camera| !is_sent(camera)).map(|camera| check_camera(&camera)).collect();
        Check { role, epoch, version: VERSION.to_owned(), protocol: PROTOCOL, cameras }
    }

    /// What it records for itself: how many cameras, and what all of their streams take, in bits per second.
    pub fn own_load(&self) -> (usize, u64) {
        let cameras = self.own_cameras().into_iter().filter_map(|id| self.camera(id));
        cameras.fold((0, 0), |(count, sum), camera| (count + 1, sum.saturating_add(bits_per_second(&camera))))
    }
}

impl Node {
    /// What its own cameras lack of a time. Reads the index, so it blocks.
    pub(super) fn missing(&self, asked: &MissingQuery) -> Result<Missing, Problem> {
        let now = self.clock().wall();
        // The window is by the clock of who asks, labels are by this recorder's.
        let ahead = now.ticks_since(asked.clock);
        let window = Span::new(asked.from.plus(ahead), asked.to.plus(ahead));
        let window = window.filter(|window| window.ticks() <= WINDOW_TICKS_MAX).ok_or_else(|| {
            Problem::bad_request("window_invalid", "from must be before to, by at most 31 days")
        })?;
        let mut cameras = Vec::new();
        let own = self.own_cameras().into_iter().filter_map(|id| self.camera(id));
        // What an edge node has yet to send was not missed in a failover.
        for camera in own.filter(|camera| !is_sent(camera)) {
            let main = camera.main();
            let absent = self.absent(main.camera, main.id, window);
            let absent = absent.map_err(|error| Problem::unavailable("index_failed", error.to_string()))?;
            let items = main.ledger().items(window, now, &absent);
            cameras.push(CameraMissing::of(camera.id, &items));
        }
        Ok(Missing { role: self.peers().role().0, cameras })
    }
}

fn check_camera(camera: &CameraState) -> CameraCheck {
    CameraCheck {
        camera: camera.id,
        bits_per_second: bits_per_second(camera),
        recorded: recorded(camera.main()),
    }
}

/// Whether an edge node records the camera and sends it here.
fn is_sent(camera: &CameraState) -> bool {
    camera.config().source.edge_node().is_some()
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
        Connection::Unwanted | Connection::Recording | Connection::Buffered | Connection::Armed => {
            GapReason::CameraSilent
        }
        Connection::Relayed => GapReason::NotSent,
    }
}
