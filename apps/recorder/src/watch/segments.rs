//! Segments taken apart by a parser that did not write them.

use mp4_atom::{Decode as _, Header, Moof};

/// A sample as a player sees it, in media time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) track: u32,
    pub(super) decode: i64,
    pub(super) shown: i64,
    pub(super) duration: i64,
    pub(super) key: bool,
    pub(super) data: Vec<u8>,
}

/// The samples of a media segment.
pub(super) fn samples(segment: &[u8]) -> Vec<Seen> {
    let mut rest = segment;
    let moof = Moof::decode(&mut rest).unwrap();
    let mdat = Header::decode(&mut rest).unwrap();
    assert_eq!((mdat.kind, mdat.size), (b"mdat".into(), Some(rest.len())));
    let mut seen = Vec::new();
    for traf in &moof.traf {
        let mut decode = i64::try_from(traf.tfdt.as_ref().unwrap().base_media_decode_time).unwrap();
        let run = &traf.trun[0];
        let mut at = usize::try_from(run.data_offset.unwrap()).unwrap();
        for entry in run.samples.iter() {
            let size = usize::try_from(entry.size.unwrap()).unwrap();
            let duration = i64::from(entry.duration.unwrap());
            seen.push(Seen {
                track: traf.tfhd.track_id,
                decode,
                shown: decode + entry.cts.unwrap_or(0),
                duration,
                key: entry.flags.unwrap() == 0x0200_0000,
                data: segment[at..at + size].to_vec(),
            });
            at += size;
            decode += duration;
        }
    }
    seen
}
