//! Pictures out of footage, decoded where a damaged or malicious stream can do no harm.
//!
//! A decoder is a large program in another language that reads what a camera sent. So it runs in processes of its own: the
//! program starts itself again as a worker, which gives up everything but its standard input and output before it
//! reads the first byte ([`run_worker`]). [`Pictures`] keeps a few of them, hands out their time fairly, and ends what takes
//! too long. A worker that crashes is one request's error.

mod frame;
mod pool;
mod process;
mod worker;

pub use frame::{
    Coding, FrameError, Made, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Request, UNITS_MAX, decode_untrusted,
};
pub use pool::{Pictures, QUEUE_MAX, USER_QUEUE_MAX};
pub use process::WorkerCommand;
pub use worker::run as run_worker;

/// Why there is no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// Too many wait.
    #[error("too many pictures are being made; try again in a moment")]
    Busy,
    /// What was stored cannot be decoded.
    #[error("the picture cannot be decoded: {0}")]
    Undecodable(String),
    /// The decoder took too long, and was ended.
    #[error("the decoder was ended because it took longer than {0} s")]
    TooSlow(u64),
    /// The decoder ended by itself.
    #[error("the decoder broke on what is stored there")]
    Crashed,
    /// More than a decoder is given.
    #[error(transparent)]
    TooLarge(#[from] FrameError),
    /// No decoder can be started.
    #[error("no decoder can be started: {0}")]
    NoWorker(String),
    /// The node ends.
    #[error("the node ends")]
    Ending,
}
