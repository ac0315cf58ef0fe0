//! What every access unit of a virtual camera says of itself: which camera, which frame, captured when.
//!
//! An SEI message of unregistered user data (ITU-T H.264 Annex D.1.7) in a NAL unit of its own, so that it survives
//! recording and export bit by bit, and a test can read out of any file which frames are in it.

use bytes::Bytes;
use keepwatch_media::h264;
use keepwatch_model::{CameraId, WallTime};

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

    /// The stamp as one NAL unit with its length, to stand before the other NAL units of its access unit.
    pub fn to_nal(&self) -> Bytes {
        let mut data = [0; 16 + 31];
        let id = self.camera.as_str().as_bytes();
        data[..8].copy_from_slice(&self.number.to_be_bytes());
        data[8..16].copy_from_slice(&self.capture.ticks().to_be_bytes());
        data[16..16 + id.len()].copy_from_slice(id);
        let mut nal = vec![0; h264::LENGTH_BYTES];
        h264::write_user_data(&mut nal, &Self::UUID, &data[..16 + id.len()]);
        let length = u32::try_from(nal.len() - h264::LENGTH_BYTES).expect("below 100 bytes");
        nal[..h264::LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        Bytes::from(nal)
    }

    /// The stamp of a sample, NAL units with 4-byte lengths; `None` when it has none, or one that makes no sense.
    pub fn find(sample: &[u8]) -> Option<Self> {
        let data = h264::find_user_data(sample, &Self::UUID)?;
        let (number, rest) = data.split_first_chunk::<8>()?;
        let (capture, id) = rest.split_first_chunk::<8>()?;
        Some(Self {
            camera: std::str::from_utf8(id).ok()?.parse().ok()?,
            number: u64::from_be_bytes(*number),
            capture: WallTime::from_ticks(i64::from_be_bytes(*capture)),
        })
    }
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
            let nal = stamp.to_nal();
            prop_assert_eq!(FrameStamp::find(&nal), Some(stamp));
            prop_assert_eq!(h264::units(&nal).map(Result::unwrap).count(), 1);
            // H.264 §7.4.1: none of these three bytes in a row within a NAL unit.
            for three in nal[h264::LENGTH_BYTES..].windows(3) {
                prop_assert!(three[0] != 0 || three[1] != 0 || three[2] >= 3, "{three:?}");
            }
            // Behind another unit, as in a sample with its picture.
            let mut sample = Vec::new();
            h264::write_unit(&mut sample, &[0x67, 1, 2, 3]);
            sample.extend_from_slice(&nal);
            prop_assert_eq!(FrameStamp::find(&sample), Some(stamp));
        }

        #[test]
        fn a_damaged_sample_has_no_stamp_and_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..100), cut in 0_usize..70) {
            let _ = FrameStamp::find(&bytes);
            let stamp = FrameStamp { camera: "cam1".parse().unwrap(), number: 7, capture: WallTime::from_ticks(9) };
            let nal = stamp.to_nal();
            if let Some(cut) = nal.get(..cut) && cut.len() < nal.len() {
                prop_assert_eq!(FrameStamp::find(cut), None);
            }
        }
    }
}
