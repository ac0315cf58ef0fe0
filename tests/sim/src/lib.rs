//! Sites in virtual time: standbys as they decide in the product, primaries and cameras as models, and what happens to them
//! drawn from a seed. A schedule of minutes takes milliseconds, and the same seed gives the same one.
//!
//! Cameras number their frames. What is lost is counted by those numbers, outside of everything that decides.

mod chance;
mod disk;
mod frames;
mod primary;
mod site;
mod standby;

pub use chance::Chance;
pub use frames::Frames;
pub use site::{Ability, Fault, Lack, Shape, Site};

use keepwatch_model::{CameraId, MonoTime, RoleId, WallTime};

/// The step of a simulation, and the time between two frames.
const STEP_MS: u64 = 100;
/// Steps of a second.
pub const SECOND: u64 = 1_000 / STEP_MS;
/// Frames of a group of pictures: sessions begin at its first, records end before it.
const GROUP_FRAMES: u64 = SECOND;

/// The moment of a step, by a clock that began at `begin`.
fn moment(begin: MonoTime, step: u64) -> MonoTime {
    begin + std::time::Duration::from_millis(step * STEP_MS)
}

/// Camera time of a frame.
fn camera_time(frame: u64) -> WallTime {
    WallTime::from_ticks(i64::try_from(frame).expect("a simulation is short") * FRAME_TICKS)
}

/// The first frame at or behind an instant of camera time.
fn frame_at(time: WallTime) -> u64 {
    u64::try_from(time.ticks().max(0)).unwrap_or(0).div_ceil(FRAME_TICKS.unsigned_abs())
}

/// Ticks between two frames.
const FRAME_TICKS: i64 = keepwatch_model::TICKS_PER_SECOND / 10;

fn role(number: usize) -> RoleId {
    RoleId([u8::try_from(number).expect("sites are small"); 16])
}

fn camera(number: usize) -> CameraId {
    format!("cam{number}").parse().expect("it is one")
}
