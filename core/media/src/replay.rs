//! The formats of ONVIF replay: the mark of a frame in RTP, ranges of time, and the headers of `PLAY`.
//!
//! ONVIF Streaming Specification, "Playback". Pure: client and server read and write with the same types. Nothing is
//! decided here about which frames a range holds; reading is lenient, writing is strict.

mod range;
mod request;
#[cfg(test)]
mod tests;

use keepwatch_model::WallTime;

use crate::rtcp::NtpTime;
use crate::rtp::{Extension, RtpPacket};

pub use range::{ClockRange, RangeError};
pub use request::{
    FRAMES, Frames, IMMEDIATE, PlayRequest, PlayRequestError, RANGE, RATE_CONTROL, REPLAY_FEATURE, REQUIRE,
    RateControl, SCALE, Scale, required_features,
};

/// The profile of the header extension that carries a [`FrameMark`] (ONVIF Streaming, "RTP header extension").
pub const EXTENSION_PROFILE: u16 = 0xABAC;

/// Bytes of a mark: three words.
pub const MARK_BYTES: usize = 12;

/// Bit C of a mark: decoding can start here.
const CLEAN_POINT: u8 = 0x80;
/// Bit E.
const ENDS_SECTION: u8 = 0x40;
/// Bit D.
const DISCONTINUITY: u8 = 0x20;
/// Bit T, which older versions of the specification do not have.
const TERMINAL: u8 = 0x10;

/// What a replay server says of an access unit, in the header extension of its first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMark {
    /// When the frame was taken, UTC by the camera's clock.
    pub time: WallTime,
    /// Bit C: decoding can start here.
    pub clean_point: bool,
    /// Bit E: the last access unit of the track before a gap in the recording, or at its end.
    pub ends_section: bool,
    /// Bit D: it does not follow the access unit that was sent before it.
    pub discontinuity: bool,
    /// Bit T: no more access units of the track come. Older servers never set it.
    pub terminal: bool,
    /// The low byte of the `CSeq` of the `PLAY` that asked for it, by which the packets of an older `PLAY` are told
    /// apart.
    pub sequence: u8,
}

impl FrameMark {
    /// The mark of a packet; `None` when it carries none, or one without a time.
    ///
    /// An extension that is longer carries the JPEG extension behind the mark, see [`after_mark`].
    pub fn of(packet: &RtpPacket<'_>) -> Option<Self> {
        let extension = packet.extension.filter(|extension| extension.profile == EXTENSION_PROFILE)?;
        let ([n0, n1, n2, n3, n4, n5, n6, n7, bits, sequence, _, _], _) =
            extension.data.split_first_chunk::<MARK_BYTES>()?;
        let ntp = NtpTime(u64::from_be_bytes([*n0, *n1, *n2, *n3, *n4, *n5, *n6, *n7]));
        Some(Self {
            time: ntp.to_wall()?,
            clean_point: bits & CLEAN_POINT != 0,
            ends_section: bits & ENDS_SECTION != 0,
            discontinuity: bits & DISCONTINUITY != 0,
            terminal: bits & TERMINAL != 0,
            sequence: *sequence,
        })
    }

    /// The data of the extension. The time comes back as the same tick, for years from 1968 to 2104.
    pub fn to_words(&self) -> [u8; MARK_BYTES] {
        let [n0, n1, n2, n3, n4, n5, n6, n7] = NtpTime::from_wall(self.time).0.to_be_bytes();
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let bits = bit(self.clean_point, CLEAN_POINT)
            | bit(self.ends_section, ENDS_SECTION)
            | bit(self.discontinuity, DISCONTINUITY)
            | bit(self.terminal, TERMINAL);
        [n0, n1, n2, n3, n4, n5, n6, n7, bits, self.sequence, 0, 0]
    }
}

/// What stands behind the mark in a header extension: with JPEG, the extension that ONVIF defines for it. Empty when
/// there is no mark.
pub fn after_mark<'a>(extension: Extension<'a>) -> &'a [u8] {
    if extension.profile != EXTENSION_PROFILE {
        return &[];
    }
    extension.data.get(MARK_BYTES..).unwrap_or_default()
}
