//! The pictures of a media segment (ISO/IEC 14496-12 §8.8): those of its first track, which is video.

use keepwatch_media::h264;
use keepwatch_model::WallTime;

/// Marks the SEI message in which virtual cameras number their frames and tell the time.
const STAMP: [u8; 16] =
    [0x6b, 0x77, 0x1a, 0xf3, 0x0c, 0x5e, 0x4d, 0x92, 0xa8, 0x41, 0xd7, 0x2e, 0x93, 0x64, 0xbf, 0x08];

/// A segment of which the index is there; of its pictures maybe not all.
pub(crate) struct Segment<'a> {
    pictures: Vec<Entry>,
    /// What is there of the samples.
    data: &'a [u8],
}

#[derive(Clone, Copy)]
struct Entry {
    bytes: usize,
    key: bool,
}

impl<'a> Segment<'a> {
    /// The first segment in `bytes`; `None` while its index is not complete.
    pub(crate) fn find(bytes: &'a [u8]) -> Option<Self> {
        let (begin, moof) = find(bytes, b"moof")?;
        let (_, traf) = find(moof, b"traf")?;
        let (_, trun) = find(traf, b"trun")?;
        let word = |place: usize| {
            let word = trun.get(place * 4..place * 4 + 4)?;
            usize::try_from(u32::from_be_bytes(word.try_into().ok()?)).ok()
        };
        let has = |flag: usize| usize::from(word(0).is_some_and(|flags| flags & flag != 0));
        // Version and flags, count, and what is told once.
        let start = 2 + has(1) + has(4);
        let each = has(0x100) + has(0x200) + has(0x400) + has(0x800);
        let entry = |number: usize| {
            let place = start + number * each + has(0x100);
            // ISO/IEC 14496-12 §8.8.3.1: sample_is_non_sync_sample.
            Some(Entry { bytes: word(place)?, key: word(place + 1)? & 0x1_0000 == 0 })
        };
        let pictures = (0..word(1)?).map_while(entry).collect();
        let mdat = bytes.get(begin + 8 + moof.len()..)?;
        let data = mdat.get(8..).filter(|_| mdat.get(4..8) == Some(b"mdat"))?;
        Some(Self { pictures, data })
    }

    /// Whether the first picture can be decoded without others.
    pub(crate) fn begins_with_key(&self) -> bool {
        self.pictures.first().is_some_and(|first| first.key)
    }

    /// Whether anything of the first picture is there.
    pub(crate) fn has_begun(&self) -> bool {
        !self.data.is_empty()
    }

    /// Whether the first picture is there as a whole.
    pub(crate) fn has_picture(&self) -> bool {
        self.pictures.first().is_some_and(|first| self.data.len() >= first.bytes)
    }

    /// Number and time of each picture that has a stamp.
    pub(crate) fn stamps(&self) -> Vec<(u64, WallTime)> {
        let mut rest = self.data;
        let mut found = Vec::with_capacity(self.pictures.len());
        for entry in &self.pictures {
            let Some((picture, behind)) = rest.split_at_checked(entry.bytes) else { break };
            rest = behind;
            let told = h264::find_user_data(picture, &STAMP);
            if let Some((number, told)) = told.as_deref().and_then(|told| told.split_first_chunk::<8>())
                && let Some(capture) = told.first_chunk::<8>()
            {
                let capture = WallTime::from_ticks(i64::from_be_bytes(*capture));
                found.push((u64::from_be_bytes(*number), capture));
            }
        }
        found
    }
}

/// The first box of a kind among those that stand one behind the other in `bytes`: where it begins, and its content.
fn find<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<(usize, &'a [u8])> {
    let mut at = 0;
    loop {
        let head = bytes.get(at..at + 8)?;
        let (length, found) = head.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length >= 8)?;
        if found == kind {
            return Some((at, bytes.get(at + 8..at + length)?));
        }
        at += length;
    }
}
