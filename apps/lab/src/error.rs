//! What can go wrong while a lab is set up or changed.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use keepwatch_media::h264::DecoderConfigError;
use keepwatch_model::CameraId;
use keepwatch_onvif::device::ServeError;
use keepwatch_onvif::device::discovery::DiscoveryError;
use keepwatch_store::StoreError;
use keepwatch_tls::IdentityError;

/// Why a lab could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The picture has no room for what is drawn into it, or is larger than the encoder takes.
    #[error(
        "a picture of {width} x {height} cannot be drawn: both even, at least 320 x 160, at most 2160 a side"
    )]
    PictureSize {
        /// Pixels of a line.
        width: usize,
        /// Lines.
        height: usize,
    },
    /// A setting is outside its range.
    #[error("{setting} is {value}: {rule}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What was given.
        value: u64,
        /// What is allowed.
        rule: &'static str,
    },
    /// The encoder refused its settings or a picture.
    #[error("encoding")]
    Encoder(#[from] openh264::Error),
    /// The JPEG encoder refused its settings or a picture.
    #[error("encoding JPEG")]
    Jpeg(#[from] jpeg_encoder::EncodingError),
    /// The encoder gave a picture without the parameter sets that decoding needs, or with unusable ones.
    #[error("the encoder's parameter sets cannot be used")]
    ParameterSets(#[from] DecoderConfigError),
    /// The address to listen on cannot be bound.
    #[error("cannot listen on {addr}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The control socket cannot be made.
    #[error("cannot make the control socket {}", path.display())]
    Control {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disk cannot be shown.
    #[error(
        "cannot show a disk at {}; both directories must be there, and /dev/fuse open to this user (others than root also need \
         Debian's fuse3)",
        path.display()
    )]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread or a signal handler could not be had, or the output is closed.
    #[error("the system refused")]
    System(#[from] io::Error),
    /// There is no certificate to show.
    #[error(transparent)]
    Certificate(#[from] IdentityError),
    /// The address of an ONVIF device cannot be bound.
    #[error(transparent)]
    Device(#[from] ServeError),
    /// An ONVIF device cannot be found.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// A camera's card cannot be opened or made.
    #[error("the card of {camera} cannot be used")]
    Card {
        /// Whose.
        camera: CameraId,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A card did not take the footage that it was to be filled with.
    #[error("the card of {0} did not take all footage: is it large enough, and is there room on the disk?")]
    Prefill(CameraId),
    /// There is no such camera.
    #[error("there is no camera {0:?}")]
    NoSuchCamera(String),
}

impl LabError {
    /// Checks that `value` is in `range`.
    pub(crate) fn check(
        setting: &'static str,
        value: u64,
        range: std::ops::RangeInclusive<u64>,
        rule: &'static str,
    ) -> Result<(), Self> {
        if range.contains(&value) { Ok(()) } else { Err(Self::Setting { setting, value, rule }) }
    }
}
