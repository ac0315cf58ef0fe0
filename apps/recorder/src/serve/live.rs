//! The present of a stream on its way to one viewer.

use std::sync::Arc;

use bytes::Bytes;
use keepwatch_media::replay::PlayRequest;
use keepwatch_model::TrackConfig;
use keepwatch_rtsp::server::{Media, NextMedia, PlayAnswer, PlayError, Source};

use super::hub::{Hub, Seen, Shown, Tracks, Watching};
use super::recorded::Right;
use super::sets::{InBand, carries};
use crate::clock::Clock;

/// One viewer's live stream. It ends when the right is lost, and when the camera's tracks become others than were
/// announced: a player that connects anew is told of them.
pub(super) struct LiveSource {
    right: Right,
    tracks: Tracks,
    sets: Vec<InBand>,
    hub: Arc<Hub>,
    clock: Clock,
    /// `None` while it does not play: nothing is kept for a client that only asked.
    watching: Option<Watching>,
    /// The tracks of the last sample, which the announced ones carry.
    carried: Tracks,
    /// Whether a key frame was sent since it plays: sound alone would be shown as a picture that is missing.
    begun: bool,
    /// Samples that were missed; until a key frame, pictures are left out.
    missed: u64,
}

impl LiveSource {
    /// What is shown at `hub`, announced as `tracks`; `clock` is the node's.
    pub(super) fn new(right: Right, tracks: Tracks, hub: Arc<Hub>, clock: Clock) -> Self {
        let sets = tracks.iter().cloned().map(InBand::new).collect();
        Self {
            right,
            carried: Tracks::clone(&tracks),
            tracks,
            sets,
            hub,
            clock,
            watching: None,
            begun: false,
            missed: 0,
        }
    }

    async fn next_media(&mut self) -> Option<Media> {
        loop {
            let watching = self.watching.as_mut()?;
            let seen = tokio::select! {
                biased;
                () = self.right.lost() => return None,
                seen = watching.next() => seen?,
            };
            match seen {
                Seen::Missed(count) => self.missed = self.missed.saturating_add(count),
                Seen::Shown(shown) if !self.carries(&shown.tracks) => return None,
                Seen::Shown(shown) => {
                    if let Some(media) = self.media(shown) {
                        return Some(media);
                    }
                }
            }
        }
    }

    /// Whether what was announced holds for `tracks`.
    fn carries(&mut self, tracks: &Tracks) -> bool {
        if Tracks::ptr_eq(tracks, &self.carried) {
            return true;
        }
        let carried = self.tracks.len() == tracks.len()
            && self.tracks.iter().zip(tracks.iter()).all(|(announced, track)| carries(announced, track));
        if carried {
            self.carried = Tracks::clone(tracks);
        }
        carried
    }

    /// `shown` as it is sent; `None` where it depends on what was missed.
    fn media(&mut self, shown: Shown) -> Option<Media> {
        let Shown { tracks, track, timestamp, capture, key, lost_packets, data, .. } = shown;
        let config = tracks.get(track)?;
        let has_video = tracks.iter().any(|track| track.kind.is_video());
        self.begun |= !has_video || (key && config.kind.is_video());
        if !self.begun {
            return None;
        }
        if self.missed > 0 && !key {
            self.missed = self.missed.saturating_add(1);
            return None;
        }
        let missed = if config.kind.is_video() { std::mem::take(&mut self.missed) } else { 0 };
        let prefix = self.sets.get_mut(track).map_or(Bytes::new(), |sets| sets.before(config, key, &data));
        Some(Media {
            track,
            timestamp,
            capture,
            key,
            data,
            prefix,
            lost_packets: lost_packets.saturating_add(u16::try_from(missed).unwrap_or(u16::MAX)),
            mark: None,
        })
    }
}

impl Source for LiveSource {
    fn tracks(&self) -> Vec<TrackConfig> {
        self.tracks.to_vec()
    }

    fn next(&mut self) -> NextMedia<'_> {
        Box::pin(self.next_media())
    }

    fn play(&mut self, request: &PlayRequest) -> Result<PlayAnswer, PlayError> {
        if request.replay {
            return Err(PlayError::Unsupported);
        }
        if !self.right.is_held() {
            return Err(PlayError::Forbidden);
        }
        if self.watching.is_none() {
            self.watching = Some(Hub::watch(Arc::clone(&self.hub)));
        }
        Ok(PlayAnswer::live(request, self.clock.wall()))
    }

    fn pause(&mut self) {
        self.watching = None;
        self.begun = false;
        self.missed = 0;
    }
}
