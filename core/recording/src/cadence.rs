//! Whether pictures of a session follow each other or something is missing between them, although no packet was lost.
//!
//! Once a session has shown how fast its pictures come, a pause is told at once. Before that, a long distance may be a pause
//! of a fast camera or the ordinary distance of a slow one, and the next picture tells: after a pause it comes soon. Where
//! none comes to tell, the session before decides. What a camera says of its frame rate (H.264 §E.2.1, RFC 8866 §6.13) is
//! not asked: slow cameras say 25.

use crate::pace::{FRAME_TICKS_MAX, PAUSE_FRAMES_MAX, PAUSE_TICKS_MAX, Pace};

/// After so many distances a session has shown how fast its pictures come: as many as a pause is longer than.
const DISTANCES_KNOWN: i64 = PAUSE_FRAMES_MAX;

/// What lies before a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// The picture before it, which was shown until then.
    Nothing,
    /// Time without pictures that must not be hidden.
    Pause,
    /// One or the other: the next picture tells.
    Doubt,
}

/// How the pictures of a session follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cadence {
    /// `None` before the first picture.
    pace: Option<Pace>,
    /// Distances seen, up to [`DISTANCES_KNOWN`].
    distances: i64,
    /// How long the pictures of the session before lasted; `None` when nothing is known of one.
    usual_ticks: Option<i64>,
    /// Length of what lies before the last picture and is in doubt.
    doubt_ticks: Option<i64>,
}

impl Cadence {
    /// Before the first picture of a session. `usual_ticks` is what the session before left.
    pub fn new(usual_ticks: Option<i64>) -> Self {
        Self { usual_ticks, ..Self::default() }
    }

    /// How long pictures last, in ticks, for the session after this one; `None` when it is not known.
    pub fn usual_ticks(&self) -> Option<i64> {
        let known = self.pace.filter(|_| self.distances >= DISTANCES_KNOWN);
        known.map(|pace| pace.frame_ticks).or(self.usual_ticks)
    }

    /// The latest picture and how long it is taken to last; `None` before the first.
    pub const fn pace(&self) -> Option<Pace> {
        self.pace
    }

    /// Times begin anew, at another place.
    pub fn forget_times(&mut self) {
        *self = Self::new(self.usual_ticks());
    }

    /// A picture at `pts` comes: returns whether what lies before the last one was a pause after all.
    pub fn confirm(&mut self, pts: i64) -> bool {
        let Some(pace) = self.pace else { return false };
        let distance = pts.saturating_sub(pace.max_pts);
        // One that is shown before the last says nothing.
        let Some(doubt) = self.doubt_ticks.filter(|_| distance > 0) else { return false };
        self.doubt_ticks = None;
        let pause = is_longer(doubt, distance);
        if !pause {
            self.slow(pace, doubt);
        }
        pause
    }

    /// No picture can tell any more: returns whether what lies before the last one counts as a pause.
    pub fn settle(&mut self) -> bool {
        let (Some(pace), Some(doubt)) = (self.pace, self.doubt_ticks.take()) else { return false };
        let pause = self.usual_ticks.is_some_and(|usual| is_longer(doubt, usual));
        if pause {
            // A camera that was slowed down since is told so once.
            self.usual_ticks = None;
        } else {
            self.slow(pace, doubt);
        }
        pause
    }

    /// What lies before a picture at `pts`.
    pub fn look(&self, pts: i64) -> Before {
        let Some(pace) = self.pace else { return Before::Nothing };
        let distance = pts.saturating_sub(pace.max_pts);
        let known = self.distances >= DISTANCES_KNOWN;
        if distance <= PAUSE_TICKS_MAX || (self.distances > 0 && !is_longer(distance, pace.frame_ticks)) {
            Before::Nothing
        } else if known || distance > FRAME_TICKS_MAX + PAUSE_TICKS_MAX {
            Before::Pause
        } else {
            Before::Doubt
        }
    }

    /// A picture at `pts` came, and `before` lies before it: what was lost is a pause here.
    pub fn advance(&mut self, pts: i64, before: Before) {
        let Some(pace) = self.pace else {
            self.pace = Some(Pace::advanced(None, pts));
            return;
        };
        let distance = pts.saturating_sub(pace.max_pts);
        if distance <= 0 {
            return;
        }
        let known = self.distances >= DISTANCES_KNOWN;
        match before {
            // The first distance is taken for what it is.
            Before::Nothing if self.distances == 0 => {
                self.distances = 1;
                self.pace = Some(Pace::known(pts, distance.min(FRAME_TICKS_MAX)));
            }
            Before::Nothing => {
                self.distances = self.distances.saturating_add(1).min(DISTANCES_KNOWN);
                self.pace = Some(Pace::advanced(self.pace, pts));
            }
            // A camera that slows down is followed within a few pictures.
            Before::Pause if known => self.pace = Some(Pace::advanced(self.pace, pts)),
            Before::Pause => self.pace = Some(Pace::known(pts, pace.frame_ticks)),
            Before::Doubt => {
                self.doubt_ticks = Some(distance);
                self.pace = Some(Pace::known(pts, pace.frame_ticks));
            }
        }
    }

    /// The camera is as slow as the distance before its last picture.
    fn slow(&mut self, pace: Pace, distance: i64) {
        self.distances = self.distances.saturating_add(1).min(DISTANCES_KNOWN);
        self.pace = Some(Pace::known(pace.max_pts, distance.min(FRAME_TICKS_MAX)));
    }
}

/// Whether a distance is longer than pictures of `frame_ticks` lie apart.
const fn is_longer(distance: i64, frame_ticks: i64) -> bool {
    distance > frame_ticks.saturating_mul(PAUSE_FRAMES_MAX)
}

#[cfg(test)]
mod tests;
