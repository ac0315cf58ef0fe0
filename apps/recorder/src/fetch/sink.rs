//! Where fetched footage goes: a trait, so that an account, a file and a store are filled alike.

use keepwatch_model::{TrackConfig, WallTime};

/// Takes fetched footage. Its calls are synchronous, so that no queue stands between the network and it: while one
/// lasts, nothing is read, and the server waits.
pub trait FetchSink {
    /// Why it takes no more; ends the fetch.
    type Error;

    /// The tracks that come, the video first. Called once, before the first sample.
    ///
    /// # Errors
    /// When it cannot take them.
    fn begin(&mut self, tracks: &[TrackConfig]) -> Result<(), Self::Error>;

    /// The next sample. Those of a track come in decoding order, each wanted one exactly once in the whole fetch.
    ///
    /// # Errors
    /// When it cannot take it.
    fn sample(&mut self, sample: &FetchedSample<'_>) -> Result<(), Self::Error>;

    /// Whether it has room for more; asked after each read, which brings a megabyte at most. After
    /// [`Appetite::Full`] it is asked again five times a second, and at once after
    /// [`FetchControl::wake`](super::FetchControl::wake).
    ///
    /// # Errors
    /// When it cannot go on.
    fn appetite(&mut self) -> Result<Appetite, Self::Error> {
        Ok(Appetite::Hungry)
    }
}

/// Whether a sink has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appetite {
    /// It has.
    Hungry,
    /// It has not: nothing is read, and the server waits.
    Full,
}

/// A sample that was fetched.
#[derive(Clone, Copy, Debug)]
pub struct FetchedSample<'a> {
    /// Its track, by its position in what [`FetchSink::begin`] was told.
    pub track: usize,
    /// The configuration of the track from this sample on.
    pub config: &'a TrackConfig,
    /// Whether it belongs to what was asked for.
    pub part: Part,
    /// When it was taken, UTC by the clock of who recorded it.
    pub time: WallTime,
    /// Whether decoding can start here.
    pub key: bool,
    /// Packets lost on the way between the sample before and it.
    pub lost_packets: u32,
    /// What [`CodecKind`](keepwatch_model::CodecKind) says of the coding.
    pub data: &'a [u8],
}

/// Which part of a fetch a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It lies before the span, and wanted samples may need it to be decoded. It comes before the first wanted sample of
    /// its track, and may come again: a key frame makes void all that came of this part before.
    Lead,
    /// It is inside the span.
    Wanted,
}

/// Counts, and keeps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountingSink {
    /// Samples of the span.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl FetchSink for CountingSink {
    type Error = std::convert::Infallible;

    fn begin(&mut self, _tracks: &[TrackConfig]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn sample(&mut self, sample: &FetchedSample<'_>) -> Result<(), Self::Error> {
        if sample.part == Part::Wanted {
            self.samples = self.samples.saturating_add(1);
            let bytes = u64::try_from(sample.data.len()).unwrap_or(u64::MAX);
            self.bytes = self.bytes.saturating_add(bytes);
        }
        Ok(())
    }
}
