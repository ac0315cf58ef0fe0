//! The task that brings the recorder to what is wished of the cameras of one primary.
//!
//! The cameras are changed as a whole, which may wait for other changes of the recorder; what is done with each is told at once,
//! whether such a change is under way or not, and again until the recorder knows the camera. What it refuses is tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{CameraId, EventCode, RoleId, Subject};
use keepwatch_recorder::guests::{Duty, Guest};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::primary::Wished;
use crate::world::{Answer, Recorder};

/// Time until the recorder is asked again to take up what it refused, the first time; twice as long each time after.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(2);
/// The longest: what is refused for good, like an id that is used twice, costs next to nothing so.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Brings the recorder to what is wished, until nothing is any more; then it lets go of the cameras. `follow` is told how far it is.
pub(super) async fn bring_about(
    role: RoleId,
    recorder: Arc<dyn Recorder>,
    mut wishes: watch::Receiver<Wished>,
    follow: watch::Sender<u64>,
) {
    let mut following = Following::new(role, &*recorder);
    loop {
        let wished = wishes.borrow_and_update().clone();
        following.take_up(&wished.guests);
        following.tell_duties(&wished);
        if following.change.is_none() {
            follow.send_replace(wished.number);
        }
        tokio::select! {
            changed = wishes.changed() => if changed.is_err() { break },
            result = ended(&mut following.change) => following.taken_up(result),
            () = reached(following.retry_at) => following.retry_at = None,
        }
    }
    // The primary is watched no more.
    drop(following);
    if let Err(why) = recorder.set_guests(role, Vec::new()).await {
        tracing::error!(%role, %why, "cameras of a primary cannot be let go");
    }
}

/// A change of the cameras that is under way.
struct Change<'a> {
    guests: Arc<Vec<Guest>>,
    answer: Answer<'a, Result<(), String>>,
}

/// How far the recorder has followed.
struct Following<'a> {
    role: RoleId,
    recorder: &'a dyn Recorder,
    /// The cameras that it took up last, all of them; `None` after a refusal.
    taken: Option<Arc<Vec<Guest>>>,
    /// Those that it was last asked to take up.
    asked: Arc<Vec<Guest>>,
    change: Option<Change<'a>>,
    /// What it was told to do with each, and accepted.
    told: BTreeMap<CameraId, Duty>,
    /// When it is asked again; `None` while nothing was refused.
    retry_at: Option<Instant>,
    retry_after: Duration,
    /// What was refused last, and operators know.
    complaint: Option<String>,
}

impl<'a> Following<'a> {
    fn new(role: RoleId, recorder: &'a dyn Recorder) -> Self {
        Self {
            role,
            recorder,
            taken: Some(Arc::default()),
            asked: Arc::default(),
            change: None,
            told: BTreeMap::new(),
            retry_at: None,
            retry_after: RETRY_AFTER_MIN,
            complaint: None,
        }
    }

    /// Has the recorder take up `guests`, unless that is done, under way, or to be tried later.
    fn take_up(&mut self, guests: &Arc<Vec<Guest>>) {
        if self.asked != *guests {
            (self.retry_at, self.retry_after) = (None, RETRY_AFTER_MIN);
        }
        let done = self.taken.as_ref().is_some_and(|taken| taken == guests);
        if done || self.change.is_some() || self.retry_at.is_some() {
            return;
        }
        self.asked = Arc::clone(guests);
        let answer = self.recorder.set_guests(self.role, (**guests).clone());
        self.change = Some(Change { guests: Arc::clone(guests), answer });
    }

    /// The change that was under way came to its end.
    fn taken_up(&mut self, result: Result<(), String>) {
        let Some(change) = self.change.take() else { return };
        // What was told meanwhile may have been told to a camera that was just let go.
        self.told.clear();
        match result {
            Ok(()) => {
                self.taken = Some(change.guests);
                self.retry_after = RETRY_AFTER_MIN;
                self.complaint = None;
            }
            Err(why) => {
                self.taken = None;
                self.retry_later();
                if self.complaint.as_ref() != Some(&why) {
                    let text = format!("cameras of role {} cannot be recorded here: {why}", self.role);
                    self.recorder.add_event(EventCode::GuestsRefused, Subject::Node, text);
                    self.complaint = Some(why);
                }
            }
        }
    }

    /// Tells the recorder what to do with each camera. One that it does not know yet is told again when it does.
    fn tell_duties(&mut self, wished: &Wished) {
        let mut unknown = false;
        for guest in wished.guests.iter() {
            let duty = wished.duty(guest);
            if self.told.get(&guest.camera) == Some(&duty) {
                continue;
            }
            if self.recorder.set_duty(self.role, guest.camera, duty) {
                self.told.insert(guest.camera, duty);
            } else {
                self.told.remove(&guest.camera);
                unknown = true;
            }
        }
        if unknown && self.change.is_none() && self.retry_at.is_none() {
            self.taken = None;
            self.retry_later();
        }
    }

    fn retry_later(&mut self) {
        self.retry_at = Some(Instant::now() + self.retry_after);
        self.retry_after = (self.retry_after * 2).min(RETRY_AFTER_MAX);
    }
}

/// Waits for the end of the change that is under way; for ever when none is.
async fn ended(change: &mut Option<Change<'_>>) -> Result<(), String> {
    match change {
        Some(change) => (&mut change.answer).await,
        None => std::future::pending().await,
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
