//! Whether a standby claims a cover, keeps the claim, or rests because another standby has it.
//!
//! A claim sends others to rest, so it needs footage: it is asked for when every camera of the role is on this standby's disk and
//! grows, and given back when one no longer does. Who does not record all of them asks as well, but only to hear whether another
//! one has the claim. While nobody has it, all that can record do.

use std::time::Duration;

use keepwatch_model::{CameraId, MonoTime, RoleId};

use super::action::{Action, Told};
use super::cover::{Claim, Cover, Covered, Phase};
use super::standby::{Primary, Standby};
use super::watch::STILL_MAX;

/// The coordination is asked again after so long, while it gave no answer or another standby covers.
const CLAIM_INTERVAL: Duration = Duration::from_secs(2);
/// Who cannot claim looks so often whether another one does. It has the claim for that moment, and gives it back: two such
/// looks must not meet two questions in a row of somebody who can, so this is no multiple of [`CLAIM_INTERVAL`].
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Another standby is believed to have the claim when the coordination has said nothing else for so long: a look whose return was
/// lost on its way is over by then.
const REFUSED_MAX: Duration = Duration::from_secs(12);

impl Primary {
    /// Cameras of its failover that this standby does not record.
    fn lacks(&self, now: MonoTime) -> Vec<CameraId> {
        let Some(cover) = &self.cover else { return Vec::new() };
        let cameras = self.watch.cameras.keys().copied();
        cameras.filter(|camera| self.is_lacked(now, cover, *camera)).collect()
    }

    fn is_lacked(&self, now: MonoTime, cover: &Cover, camera: CameraId) -> bool {
        let Some(covered) = cover.cameras.get(&camera) else {
            // There was no room for it, unless it is back at the primary.
            return cover.phase == Phase::Running;
        };
        if self.unscheduled.contains(&camera) || covered.is_recorded(now) {
            return false;
        }
        // What has just been added to a claim that is held has its time to begin.
        if cover.claim == Claim::Held && !covered.is_still(now) {
            return false;
        }
        // A camera that its primary did not record before it failed, and that is not received here, is dead: it holds up no
        // claim. A standby that receives it nevertheless goes on with it, see `held_by_other`.
        let dead = covered.was_lacked() && covered.is_still(now);
        !(dead && cover.cameras.values().any(|other| other.is_recorded(now)))
    }
}

impl Standby {
    /// Notes which cameras of a failover are not recorded here. Whether all are.
    pub(super) fn see_lacks(&mut self, now: MonoTime, role: RoleId) -> bool {
        let Some(primary) = self.primaries.get_mut(&role) else { return false };
        let lacks = primary.lacks(now);
        // Who has footage of none cannot know that it would record any: at night, when none is to be recorded, nobody claims.
        let cover = primary.cover.as_ref();
        let any = cover.is_some_and(|cover| cover.cameras.values().any(Covered::was_recorded));
        let whole = lacks.is_empty() && any;
        if let Some(cover) = &mut primary.cover {
            cover.lacks = lacks;
        }
        whole
    }

    /// A camera came to disk that did not before: it may have been the last one that a claim waited for.
    pub(super) fn recorded_again(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) {
        let whole = self.see_lacks(now, role);
        let cover = self.primaries.get(&role).and_then(|primary| primary.cover.as_ref());
        if whole && cover.is_some_and(|cover| cover.claim != Claim::Held) {
            self.look_at_claim(now, role, out);
        }
    }

    /// Asks for the claim, looks whether another standby has it, or gives it back.
    pub(super) fn look_at_claim(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) {
        let whole = self.see_lacks(now, role);
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(cover) = &mut primary.cover else {
            // Asked again until it gives the cover away because the other standby is gone, or records less than all.
            let asks = primary.left.is_some();
            primary.claim_at = asks.then(|| now + CLAIM_INTERVAL);
            out.extend(asks.then_some(Action::Claim(role)));
            return;
        };
        primary.claim_at = Some(now + if whole { CLAIM_INTERVAL } else { LOOK_INTERVAL });
        match (cover.claim, whole) {
            (Claim::Held, true) => {}
            (Claim::Held, false) => {
                out.push(Action::Release(role));
                cover.become_claimed(role, Claim::Incomplete, out);
            }
            (Claim::Asked | Claim::Unconfirmed | Claim::Incomplete, _) => out.push(Action::Claim(role)),
        }
    }

    /// The coordination gave the claim to this standby.
    pub(super) fn claimed(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) {
        let whole = self.see_lacks(now, role);
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(cover) = &mut primary.cover else {
            // The other standby does not have it any more. It is taken once there is footage.
            out.push(Action::Release(role));
            self.take_over(now, role, out);
            return;
        };
        cover.refused = None;
        if whole {
            cover.become_claimed(role, Claim::Held, out);
            primary.claim_at = Some(now + CLAIM_INTERVAL);
            return;
        }
        out.push(Action::Release(role));
        if cover.claim == Claim::Held {
            cover.claim = Claim::Asked;
        }
        // A failover that has just begun is not told of as incomplete, nor one of cameras that are not to be recorded at present.
        if now.since(cover.since) >= STILL_MAX
            && (!cover.lacks.is_empty() || primary.watch.cameras.is_empty())
        {
            cover.become_claimed(role, Claim::Incomplete, out);
        }
    }

    /// The coordination cannot be asked.
    pub(super) fn unclaimable(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        if primary.cover.is_none() {
            self.take_over(now, role, out);
        }
        let Some(cover) = self.primaries.get_mut(&role).and_then(|primary| primary.cover.as_mut()) else {
            return;
        };
        cover.refused = None;
        cover.become_claimed(role, Claim::Unconfirmed, out);
    }

    /// Begins a failover that was left to another standby, which may have it no more.
    fn take_over(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        // The primary may be well by now.
        let Some(cause) = primary.left.filter(|cause| primary.wants_back(*cause)) else {
            primary.take_back();
            return;
        };
        if self.begin(now, role, cause, out) {
            return;
        }
        self.wait(role, out);
        if let Some(primary) = self.primaries.get_mut(&role) {
            // One that is due by itself begins when there is room. What an operator began is tried again from here.
            match primary.is_due() {
                true => primary.take_back(),
                false => primary.claim_at = Some(now + CLAIM_INTERVAL),
            }
        }
    }

    /// Another standby has the claim: this one rests when that is sure, and is ready to take over from it.
    pub(super) fn held_by_other(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        let Some(cover) = &mut primary.cover else {
            if primary.left.is_some() {
                primary.claim_at = Some(now + CLAIM_INTERVAL);
                primary.waits = false;
            }
            return;
        };
        if cover.claim == Claim::Held {
            cover.claim = Claim::Asked;
        }
        if now.since(*cover.refused.get_or_insert(now)) < REFUSED_MAX {
            return;
        }
        let Some(cover) = primary.cover.take() else { return };
        primary.left = Some(cover.cause);
        primary.claim_at = Some(now + CLAIM_INTERVAL);
        // The other one need not receive what the primary did not record before it failed.
        let stays = |covered: &Covered| covered.was_lacked() && covered.was_recorded();
        let (stays, rests): (Vec<_>, Vec<_>) =
            cover.cameras.into_iter().partition(|(_, covered)| stays(covered));
        out.extend(rests.into_iter().map(|(camera, _)| Action::Rest { role, camera }));
        out.extend([Action::Keep(role), Action::Tell(role, Told::LeftToOther)]);
        out.extend(stays.iter().map(|(camera, _)| Action::Tell(role, Told::CameraCovered(*camera))));
        primary.alone.extend(stays);
        self.start_due(now, out);
    }
}

impl Cover {
    /// The claim is another. That it was had without a word before is no news.
    fn become_claimed(&mut self, role: RoleId, claim: Claim, out: &mut Vec<Action>) {
        let before = std::mem::replace(&mut self.claim, claim);
        if before != claim && (before, claim) != (Claim::Asked, Claim::Held) {
            out.push(Action::Tell(role, Told::ClaimIs(claim)));
        }
    }
}
