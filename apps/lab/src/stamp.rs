//! What every access unit of a virtual camera says of itself: which camera, which frame, captured when.
//!
//! An SEI message of unregistered user data (ITU-T H.264 Annex D.1.7, H.265 Annex D.2.7) in a NAL unit of its own, so
//! that it survives recording and export bit by bit, and a test can read out of any file which frames are in it.
//! Motion JPEG has no place that survives RFC 2435: there only the bar in the picture tells the number.

use bytes::Bytes;
use keepwatch_media::h264;
use keepwatch_model::{CameraId, WallTime};

/// The header of an H.265 prefix SEI unit (ITU-T H.265 §7.3.1.2): type 39, layer 0, lowest temporal layer.
const HEVC_SEI_HEADER: [u8; 2] = [39 << 1, 1];

/// Of an access unit of one camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameStamp {
    /// The camera.
    pub camera: CameraId,
    /// The frame's number, unique among all cameras of a lab; consecutive frames differ by one.
    pub number: u64,
    /// When the camera says that it captured the frame.
    pub capture: WallTime,
}

impl FrameStamp {
    /// Marks the message as one of these; a random UUID (RFC 9562 §5.4), the same for ever.
    pub const UUID: [u8; 16] =
        [0x6b, 0x77, 0x1a, 0xf3, 0x0c, 0x5e, 0x4d, 0x92, 0xa8, 0x41, 0xd7, 0x2e, 0x93, 0x64, 0xbf, 0x08];

    /// The stamp as one H.264 NAL unit with its length, to stand before the other NAL units of its access unit.
    pub fn to_nal(&self) -> Bytes {
        let mut nal = vec![0; h264::LENGTH_BYTES];
        self.write_message(&mut nal);
        with_length(nal)
    }

    /// The stamp as one H.265 NAL unit with its length, in the same place.
    pub fn to_hevc_nal(&self) -> Bytes {
        // Both standards write the message alike behind headers that end in no zero byte (H.265 §7.3.2.4, §7.4.2).
        let mut unit = Vec::new();
        self.write_message(&mut unit);
        let mut nal = vec![0; h264::LENGTH_BYTES];
        nal.extend_from_slice(&HEVC_SEI_HEADER);
        nal.extend_from_slice(unit.get(1..).unwrap_or_default());
        with_length(nal)
    }

    /// Appends the H.264 SEI unit.
    fn write_message(&self, out: &mut Vec<u8>) {
        let mut data = [0; 16 + 31];
        let id = self.camera.as_str().as_bytes();
        data[..8].copy_from_slice(&self.number.to_be_bytes());
        data[8..16].copy_from_slice(&self.capture.ticks().to_be_bytes());
        data[16..16 + id.len()].copy_from_slice(id);
        h264::write_user_data(out, &Self::UUID, &data[..16 + id.len()]);
    }

    /// The stamp of a sample of H.264 or H.265, NAL units with 4-byte lengths; `None` when it has none, or one that
    /// makes no sense.
    pub fn find(sample: &[u8]) -> Option<Self> {
        let data =
            h264::find_user_data(sample, &Self::UUID).or_else(|| find_hevc_user_data(sample, &Self::UUID))?;
        let (number, rest) = data.split_first_chunk::<8>()?;
        let (capture, id) = rest.split_first_chunk::<8>()?;
        Some(Self {
            camera: std::str::from_utf8(id).ok()?.parse().ok()?,
            number: u64::from_be_bytes(*number),
            capture: WallTime::from_ticks(i64::from_be_bytes(*capture)),
        })
    }
}

/// Writes the length of the one unit of `nal` into the bytes kept for it.
fn with_length(mut nal: Vec<u8>) -> Bytes {
    let length = u32::try_from(nal.len() - h264::LENGTH_BYTES).expect("below 100 bytes");
    nal[..h264::LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Bytes::from(nal)
}

/// The first user data of `uuid` in an H.265 sample. The first byte of an H.264 SEI unit is of another type in H.265,
/// and the other way round, so that neither is taken for the other.
fn find_hevc_user_data(sample: &[u8], uuid: &[u8; 16]) -> Option<Vec<u8>> {
    let messages = h264::units(sample).map_while(Result::ok).filter_map(|unit| {
        let message = unit.strip_prefix(&HEVC_SEI_HEADER)?;
        let as_h264: Vec<u8> = std::iter::once(6).chain(message.iter().copied()).collect();
        Some(as_h264)
    });
    messages.flat_map(|unit| h264::user_data(&unit)).find(|held| held.uuid == *uuid).map(|held| held.data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers and times full of zeros and small bytes, as emulation prevention has to meet them.
    fn sparse() -> impl Strategy<Value = u64> {
        prop::array::uniform8(prop_oneof![4 => 0_u8..4, 1 => any::<u8>()]).prop_map(u64::from_be_bytes)
    }

    proptest! {
        #[test]
        fn a_stamp_survives_and_never_looks_like_a_start_code(
            number in sparse(),
            capture in sparse(),
            id in "[a-z0-9][a-z0-9._-]{0,30}",
        ) {
            let capture = WallTime::from_ticks(i64::from_ne_bytes(capture.to_ne_bytes()));
            let stamp = FrameStamp { camera: id.parse().unwrap(), number, capture };
            for (nal, parameter_set) in [(stamp.to_nal(), [0x67, 1, 2, 3]), (stamp.to_hevc_nal(), [0x42, 1, 2, 3])] {
                prop_assert_eq!(FrameStamp::find(&nal), Some(stamp));
                prop_assert_eq!(h264::units(&nal).map(Result::unwrap).count(), 1);
                // H.264 §7.4.1, H.265 §7.4.2: none of these three bytes in a row within a NAL unit.
                for three in nal[h264::LENGTH_BYTES..].windows(3) {
                    prop_assert!(three[0] != 0 || three[1] != 0 || three[2] >= 3, "{three:?}");
                }
                // Behind another unit, as in a sample with its picture.
                let mut sample = Vec::new();
                h264::write_unit(&mut sample, &parameter_set);
                sample.extend_from_slice(&nal);
                prop_assert_eq!(FrameStamp::find(&sample), Some(stamp));
            }
        }

        #[test]
        fn a_damaged_sample_has_no_stamp_and_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..100), cut in 0_usize..70) {
            let _ = FrameStamp::find(&bytes);
            let stamp = FrameStamp { camera: "cam1".parse().unwrap(), number: 7, capture: WallTime::from_ticks(9) };
            for nal in [stamp.to_nal(), stamp.to_hevc_nal()] {
            if let Some(cut) = nal.get(..cut) && cut.len() < nal.len() {
                prop_assert_eq!(FrameStamp::find(cut), None);
            }
            }
        }
    }
}
