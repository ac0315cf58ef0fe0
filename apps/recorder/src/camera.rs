//! One camera: its session with the device, its way to the disk, and what is known of it.

mod gather;
mod ingest;
mod state;
mod task;

pub(crate) use gather::Ending;
pub(crate) use state::Registry;
pub use state::{CameraState, Connection};
pub(crate) use task::CameraTask;
