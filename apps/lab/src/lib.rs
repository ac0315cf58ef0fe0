//! Virtual cameras, load and faults: what Keepwatch is shown, tested and measured with where no camera is at hand.
//!
//! A [`VirtualSite`] serves H.264 and G.711 over RTSP as real cameras do. Every access unit carries a
//! [`FrameStamp`] and every picture the same counter for the eye and for [`read_counter`], so that whoever holds a
//! recording can tell which frames it lacks. [`run_load`] serves many cameras at little cost, [`run_disk`] shows a disk
//! that fails on command, and [`run_line`] a line that is cut. Nothing here decides anything about recording, and nothing of the recorder is used: a lab is the outside world.

mod camera;
mod card;
mod clip;
mod coder;
mod connections;
mod control;
mod device;
mod disk;
mod documents;
mod encoder;
mod ending;
mod error;
mod fault;
mod feed;
mod jpeg;
mod line;
mod load;
mod picture;
mod run;
mod site;
mod sound;
mod stamp;
mod timeline;

pub use card::CardOptions;
pub use coder::VideoCodec;
pub use connections::Connection;
pub use disk::{DiskFault, DiskOptions, DiskReport, run_disk};
pub use encoder::{AccessUnit, Encoder, EncoderSettings};
pub use error::LabError;
pub use fault::{AcceptedTransports, CameraControl, CardState, Fault, KeepaliveAnswer, Motion, ParameterSet};
pub use jpeg::read_jpeg_counter;
pub use line::{LineOptions, run_line};
pub use load::{LoadOptions, run_load};
pub use picture::{Caption, Picture, Scene, read_counter};
pub use run::{CamerasOptions, run_cameras};
pub use site::{Login, NUMBERS_PER_CAMERA, SiteOptions, VirtualSite};
pub use sound::AudioCodec;
pub use stamp::FrameStamp;
pub use timeline::{EPOCH, LabClock, Timeline};

/// A size or position among things that fit into memory, as it is counted.
fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
