//! Pauses that the next picture tells from a slow camera's distance.
//!
//! [`Cadence`](keepwatch_recording::cadence::Cadence) decides. Here the record behind such a distance is kept apart from the
//! one before, so that it can become the first of a run of its own as long as it is open.

use keepwatch_model::GapReason;
use keepwatch_recording::pace::Pace;
use keepwatch_recording::timeline::Seam;

use super::{Gather, VIDEO};

impl Gather<'_> {
    /// Time may be missing before the picture that comes: the footage before it gets an end of its own.
    pub(super) fn doubt(&mut self, continuation: bool) {
        let Some(pace) = self.cadence.pace() else { return };
        self.commit(pace.end_pts());
        self.doubted = self.seam(pace);
        if let Some(run) = &mut self.run {
            run.continuation = continuation;
        }
    }

    /// The open record is closed before another picture tells.
    pub(super) fn settle_doubt(&mut self) {
        if self.cadence.settle() {
            self.split_run();
        }
    }

    /// What lies before the open record was a pause: a run ended there, and another begins with that record.
    pub(super) fn split_run(&mut self) {
        let Some(seam) = self.doubted.take() else { return };
        let Some(run) = self.run.as_mut().filter(|run| run.label_until.is_some()) else { return };
        run.label_until = None;
        run.id = self.output.store.new_run();
        self.output.seam = Some(seam);
        self.stream.account().missing_from(seam.label, GapReason::CameraSilent);
        self.broken = Some(GapReason::CameraSilent);
    }

    /// Where the run ends after its last record; `None` before the first.
    pub(super) fn seam(&self, pace: Pace) -> Option<Seam> {
        let label = self.run.as_ref()?.label_until?;
        let camera = self.tracks.get(VIDEO).and_then(|track| track.timeline.camera_time(pace.end_pts()));
        let at = Some(self.pictured + keepwatch_model::duration_from_ticks(pace.frame_ticks));
        Some(Seam { label, camera, at, unbroken: false })
    }
}
