//! What a client has not taken yet: bounded, and when full, cut at a key frame.

use std::collections::VecDeque;

use keepwatch_model::TrackConfig;

use super::Media;

/// Queued bytes of one client: four seconds at 4 Mbit/s, beside what the kernel's send buffer holds.
const QUEUE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Queued items of one client: bounds the cost of many tiny ones, about ten seconds of video and audio.
const QUEUE_ITEMS_MAX: usize = 1024;

/// Most packets that a gap pretends to have had: far enough from 2^15, where RTP sequence numbers turn around.
const SKIP_MAX: u16 = 1000;

/// Media, and what was left out before it.
pub(super) struct Queued {
    /// To be sent.
    pub(super) media: Media,
    /// By how much the track's RTP sequence number jumps before it, so that the client can see the loss.
    pub(super) skip: u16,
}

impl Queued {
    /// `media` that wait in no queue: before them nothing was left out here.
    pub(super) fn whole(media: Media) -> Self {
        let skip = media.lost_packets.min(SKIP_MAX);
        Self { media, skip }
    }
}

/// One track's share of the queue.
struct TrackState {
    /// Whether only a key frame may follow.
    waits_for_key: bool,
    /// Whether a key frame ever came: what came before it is no loss.
    started: bool,
    /// Items left out since the last one queued; saturates at [`SKIP_MAX`].
    skipped: u16,
    /// Whether an item depends on those before it.
    is_video: bool,
}

/// A client's queue.
pub(super) struct Queue {
    items: VecDeque<Queued>,
    bytes: usize,
    tracks: Vec<TrackState>,
    bytes_max: usize,
    dropped: u64,
}

impl Queue {
    /// An empty queue for a source with `tracks`.
    pub(super) fn new(tracks: &[TrackConfig]) -> Self {
        let tracks = tracks
            .iter()
            .map(|track| TrackState {
                waits_for_key: track.kind.is_video(),
                started: false,
                skipped: 0,
                is_video: track.kind.is_video(),
            })
            .collect();
        Self { items: VecDeque::new(), bytes: 0, tracks, bytes_max: QUEUE_BYTES_MAX, dropped: 0 }
    }

    /// Items left out because the client was too slow, ever.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds `media`, or leaves it out; media of an unknown track is ignored.
    pub(super) fn push(&mut self, media: Media) {
        let Some(track) = self.tracks.get_mut(media.track) else { return };
        let bytes = media.data.len().saturating_add(media.prefix.len());
        // Going on needs half the room: a client at its limit gets few long gaps rather than many short ones.
        let bytes_max =
            if track.waits_for_key && track.started { self.bytes_max / 2 } else { self.bytes_max };
        // A single access unit of any size goes out when nothing else waits.
        let fits = self.items.is_empty()
            || (self.items.len() < QUEUE_ITEMS_MAX && self.bytes.saturating_add(bytes) <= bytes_max);
        let decodable = media.key || !track.waits_for_key;
        track.started |= decodable;
        if fits && decodable {
            track.waits_for_key = false;
            let skip = std::mem::take(&mut track.skipped).saturating_add(media.lost_packets).min(SKIP_MAX);
            self.bytes = self.bytes.saturating_add(bytes);
            self.items.push_back(Queued { media, skip });
        } else if track.started {
            track.waits_for_key = track.is_video;
            track.skipped = track.skipped.saturating_add(media.lost_packets).saturating_add(1).min(SKIP_MAX);
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Forgets all that waits: what follows begins at a key frame, as the first did.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
        for track in &mut self.tracks {
            track.waits_for_key = track.is_video;
            track.started = false;
            track.skipped = 0;
        }
    }

    /// Takes out the oldest.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.items.pop_front()?;
        let bytes = queued.media.data.len().saturating_add(queued.media.prefix.len());
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.items.is_empty() {
            // After a stall the room must not stay with every client.
            self.items.shrink_to(16);
        }
        Some(queued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use keepwatch_model::{CodecKind, WallTime};

    fn queue(bytes_max: usize) -> Queue {
        let video = TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: vec![] };
        let audio = TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: vec![] };
        Queue { bytes_max, ..Queue::new(&[video, audio]) }
    }

    fn media(track: usize, timestamp: u32, key: bool, length: usize) -> Media {
        let data = Bytes::from(vec![0; length]);
        Media {
            track,
            timestamp,
            capture: WallTime::from_ticks(0),
            key,
            data,
            prefix: Bytes::new(),
            lost_packets: 0,
            mark: None,
        }
    }

    fn drain(queue: &mut Queue) -> Vec<(u32, u16)> {
        std::iter::from_fn(|| queue.pop()).map(|queued| (queued.media.timestamp, queued.skip)).collect()
    }

    #[test]
    fn begins_at_a_key_frame_and_counts_nothing_before_it_as_lost() {
        let mut queue = queue(1000);
        queue.push(media(0, 1, false, 10));
        queue.push(media(0, 2, true, 10));
        queue.push(media(0, 3, false, 10));
        assert_eq!(drain(&mut queue), [(2, 0), (3, 0)]);
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn goes_on_at_a_key_frame_after_a_visible_gap() {
        let mut queue = queue(100);
        queue.push(media(0, 1, true, 60));
        queue.push(media(0, 2, false, 60)); // no room
        queue.push(media(0, 3, false, 1)); // room, but it depends on what was left out
        assert_eq!(drain(&mut queue), [(1, 0)]);
        queue.push(media(0, 4, false, 1));
        queue.push(media(0, 5, true, 1));
        queue.push(media(0, 6, false, 1));
        assert_eq!(drain(&mut queue), [(5, 3), (6, 0)]);
        assert_eq!(queue.dropped(), 3);
    }

    #[test]
    fn a_full_queue_takes_no_key_frame_before_it_is_half_empty() {
        let mut queue = queue(100);
        queue.push(media(0, 1, true, 90));
        queue.push(media(0, 2, false, 20));
        queue.push(media(0, 3, true, 5));
        assert_eq!(drain(&mut queue), [(1, 0)]);
        queue.push(media(0, 4, true, 5));
        assert_eq!(drain(&mut queue), [(4, 2)]);
    }

    #[test]
    fn audio_goes_on_wherever_there_is_room() {
        let mut queue = queue(100);
        queue.push(media(0, 1, true, 99));
        queue.push(media(1, 2, true, 20));
        queue.push(media(1, 3, true, 1));
        queue.push(media(7, 4, true, 1));
        assert_eq!(drain(&mut queue), [(1, 0), (3, 1)]);
    }

    #[test]
    fn an_access_unit_above_the_bound_passes_alone() {
        let mut queue = queue(100);
        queue.push(media(0, 1, true, 1000));
        assert_eq!(drain(&mut queue), [(1, 0)]);
        assert!(queue.items.is_empty());
    }
}
