//! The thread that writes one disk: takes all that is queued, writes it, flushes once, tells, repeats.
//!
//! When a write fails, nothing of the round counts: its records and all that are queued go to another disk. Whether this one
//! can still be read is found out by reading; it is tried again every few seconds, and recovered from what it then holds.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Disk, KEEPS_UP_BELOW, Mounted, SLOW_AFTER, Takes, Unusable, gauge, mount_failed};
use crate::shared::Shared;
use crate::volume::{Job, LIED, Plan, execute, read_back};
use crate::{Commit, DiskChange, DiskState, Lane, Reclaim};
use keepwatch_model::GapReason;

/// Most bytes of one round: bounds the time until the first of its records is told to be durable.
const ROUND_BYTES_MAX: u64 = 32 << 20;

/// Looks for a disk in the time between two in which one that is only shown is looked through: its headers are some reads.
const LOOKS_PER_SCAN: u32 = 5;
/// That time is at least so many times what looking it through took.
const SCAN_PAUSE: u32 = 20;

/// Writes `disk` until it is told to stop.
pub(crate) fn run(shared: &Shared, disk: &Disk) {
    let mut looked_at = Instant::now();
    let (mut looked_through_at, mut took) = (Instant::now(), Duration::ZERO);
    loop {
        let interval = shared.reprobe_interval;
        let work = disk.wait(interval.saturating_sub(looked_at.elapsed()));
        if looked_at.elapsed() >= interval {
            look(shared, disk);
            let pause = (interval * LOOKS_PER_SCAN).max(took * SCAN_PAUSE);
            if disk.config.read_only && looked_through_at.elapsed() >= pause {
                let begun = Instant::now();
                look_through(shared, disk);
                looked_through_at = Instant::now();
                took = looked_through_at - begun;
            }
            shared.pool.trim();
            shared.holds.pool.trim();
            shared.backfill_pool.trim();
            looked_at = Instant::now();
        }
        let mut jobs = work.jobs;
        // Nobody's footage expires on a disk that is only shown.
        let expiries = if disk.config.read_only { Vec::new() } else { work.expiries };
        for (camera, before) in expiries {
            let claims = shared.claims();
            let expiry = |mounted: &Mounted| Some(mounted.volume()?.plan_expiry(camera, before, &claims));
            round(shared, disk, &mut jobs, expiry);
        }
        while !jobs.is_empty() {
            write(shared, disk, &mut jobs);
        }
        if work.behind {
            write_behind(shared, disk, work.stopping);
        }
        if work.measure && disk.config.read_only {
            drop(disk.take_gauge());
        } else if work.measure {
            measure(disk);
        }
        if work.stopping {
            if let Some(mounted) = disk.mounted().filter(|_| disk.takes() != Takes::Nothing)
                && let Err(error) = mounted.close()
            {
                tracing::warn!(disk = %disk.config.path.display(), %error, "not marked as closed");
            }
            return;
        }
    }
}

/// Takes up what somebody else has written to a disk that is only shown.
fn look_through(shared: &Shared, disk: &Disk) {
    let Some(mounted) = disk.mounted() else { return };
    match shared.look_again(disk, &mounted) {
        Ok(()) => {}
        Err(Unusable::Gone(why) | Unusable::StillReadOnly(why)) => fail_wholly(shared, disk, why),
        Err(Unusable::Foreign(owner)) => fail_wholly(shared, disk, format!("belongs to recorder {owner}")),
        Err(Unusable::Refused(error)) => fail_wholly(shared, disk, error.to_string()),
    }
}

/// Looks whether the disk is still where it should be, or there again, or can be written again.
fn look(shared: &Shared, disk: &Disk) {
    match disk.mounted() {
        Some(mounted) => match mounted.displaced() {
            Some(why) => fail_wholly(shared, disk, why),
            None if disk.takes() != Takes::Nothing || disk.config.read_only => {}
            None if !mounted.superblock.writable() => {}
            None => try_again(shared, disk),
        },
        None => try_again(shared, disk),
    }
}

/// Tries a disk that was gone, or could be read only.
fn try_again(shared: &Shared, disk: &Disk) {
    if !disk.retry().may_try(Instant::now()) {
        return;
    }
    match shared.mount(disk) {
        Ok(report) => {
            match report.read_only {
                Some(why) => shared.tell(disk, DiskChange::ReadOnly(why)),
                None if report.adopted => {} // Told when it was mounted.
                None => shared.tell(disk, DiskChange::Returned),
            }
            if disk.takes() == Takes::Records {
                disk.retry().in_use(Instant::now());
                shared.queue_tail();
            }
        }
        Err(Unusable::Foreign(owner)) => {
            if disk.set_state(DiskState::Foreign { owner }) {
                shared.tell(disk, DiskChange::Foreign(owner));
            }
        }
        Err(Unusable::Gone(why)) if disk.mounted().is_some() => fail_wholly(shared, disk, why),
        Err(Unusable::Gone(why) | Unusable::StillReadOnly(why)) => {
            tracing::debug!(disk = %disk.config.path.display(), why, "still not of use");
            disk.gone_because(why);
        }
        Err(Unusable::Refused(error)) => {
            tracing::debug!(disk = %disk.config.path.display(), %error, "still not of use");
            disk.gone_because(error.to_string());
        }
    }
}

/// Writes a round of `jobs`.
fn write(shared: &Shared, disk: &Disk, jobs: &mut VecDeque<Job>) {
    let claims = shared.claims();
    let mut queued = std::mem::take(jobs);
    let plan = |mounted: &Mounted| Some(mounted.volume()?.plan(&mut queued, ROUND_BYTES_MAX, &claims));
    let done = round(shared, disk, jobs, plan);
    if done {
        jobs.append(&mut queued);
    } else {
        // The disk is gone: what was not yet planned follows the rest.
        disk.unqueued(queued.iter().map(Job::held_bytes).sum());
        shared.send_elsewhere(queued, GapReason::DiskGone);
    }
}

/// Writes some of what was fetched for gaps, all of it when the disk's thread `ends`.
fn write_behind(shared: &Shared, disk: &Disk, ends: bool) {
    loop {
        let mut jobs = disk.take_behind();
        while !jobs.is_empty() {
            write(shared, disk, &mut jobs);
        }
        if !ends || !disk.has_behind() {
            return;
        }
    }
}

/// One round of the measurement that was asked for.
fn measure(disk: &Disk) {
    let mounted = disk.mounted().filter(|_| disk.takes() != Takes::Nothing);
    let (Some(mut gauge), Some(mounted)) = (disk.take_gauge(), mounted) else { return };
    match gauge::round(&mounted, &mut gauge) {
        Ok(None) => disk.measure_on(gauge),
        Ok(Some(measured)) => disk.set_write_rate(Some(measured)),
        // Whether the disk works is for the records to say.
        Err(error) => {
            tracing::debug!(disk = %disk.config.path.display(), %error, "how fast the disk is was not measured");
        }
    }
}

/// Plans, writes and makes known. False when the disk is not there or failed; the records are then elsewhere.
fn round(
    shared: &Shared,
    disk: &Disk,
    jobs: &mut VecDeque<Job>,
    plan: impl FnOnce(&Mounted) -> Option<Plan>,
) -> bool {
    let Some(mounted) = disk.mounted().filter(|_| disk.takes() != Takes::Nothing) else {
        give_away(shared, disk, jobs);
        return false;
    };
    let Some(mut plan) = plan(&mounted) else { return false };
    let full: VecDeque<Job> = plan.take_full().into();
    let allocated = plan.allocates();
    let oldest = plan.oldest();
    let device = mounted.device.as_ref();
    disk.written_bytes.fetch_add(plan.written_bytes(), Ordering::Relaxed);
    let written = execute(&mounted.superblock, device, &mut plan)
        .and_then(|()| if disk.is_to_be_read_back() { read_back(device, &plan) } else { Ok(()) });
    match written {
        Ok(()) => make_known(shared, disk, &mounted, plan),
        Err(error) => {
            let given_up = plan.given_up();
            let written: VecDeque<Job> = plan.into_jobs().chain(full).collect();
            disk.unqueued(written.iter().map(Job::held_bytes).sum());
            let no_space = error.raw_os_error() == Some(libc::ENOSPC);
            // First of all recording goes on.
            let state = DiskState::Gone { why: error.to_string(), since: Instant::now() };
            let queued = disk.refuse(state);
            let reason = if no_space { GapReason::DiskFull } else { GapReason::DiskGone };
            shared.send_elsewhere(written, reason);
            give_away(shared, disk, jobs);
            shared.send_elsewhere(queued, reason);
            fail(shared, disk, &mounted, &given_up, &error);
            return false;
        }
    }
    // That there is no room for something older than all that is held says nothing of the disk.
    note_room(shared, disk, full.iter().any(|job| job.lane == Lane::Live), allocated);
    if !full.is_empty() {
        disk.unqueued(full.iter().map(Job::held_bytes).sum());
        shared.send_elsewhere(full, GapReason::DiskFull);
    }
    if let Some(oldest) = oldest {
        note_speed(shared, disk, oldest);
    }
    true
}

fn make_known(shared: &Shared, disk: &Disk, mounted: &Mounted, plan: Plan) {
    let Some(outcome) = mounted.volume().map(|mut volume| volume.finish(plan)) else { return };
    shared.index.learn(outcome.changes);
    for (key, spans, why) in outcome.reclaimed {
        shared.tell_reclaimed(disk, key, &spans, why);
    }
    for job in outcome.durable {
        disk.unqueued(job.held_bytes());
        let (camera, stream, lane) = job.slot();
        let (info, queued_at) = (job.header.info, job.queued_at);
        let (id, place) = (mounted.superblock.disk, disk.place());
        disk.media_bytes.fetch_add(u64::from(info.media_bytes), Ordering::Relaxed);
        drop(job); // Its memory is free before anyone hears of it.
        shared.events.durable(&Commit { camera, stream, lane, info, disk: id, place, queued_at });
    }
}

fn note_room(shared: &Shared, disk: &Disk, full: bool, allocated: bool) {
    if full {
        if disk.set_state(DiskState::Full) {
            shared.tell(disk, DiskChange::Full);
        }
    } else if allocated && disk.takes() == Takes::WhatFits && disk.set_state(DiskState::Online) {
        shared.tell(disk, DiskChange::HasRoom);
        shared.queue_tail();
    }
}

fn note_speed(shared: &Shared, disk: &Disk, oldest: Instant) {
    let waited = oldest.elapsed();
    if waited > SLOW_AFTER && disk.set_slow(true) {
        shared.tell(disk, DiskChange::Slow);
    } else if waited < KEEPS_UP_BELOW && disk.set_slow(false) {
        shared.tell(disk, DiskChange::KeepsUp);
    }
}

/// A disk that takes no records any more was given up by its thread; whether it can be read is found out. The footage of the extents that
/// were `given_up` in the round that failed may be there or not.
fn fail(shared: &Shared, disk: &Disk, failed: &Mounted, given_up: &[u32], error: &io::Error) {
    let why = error.to_string();
    disk.retry().failed(Instant::now(), shared.reprobe_interval);
    // What is durable is known to be it: what the disk only said to have written is told.
    if let Err(error) = shared.index.flush() {
        tracing::debug!(%error, "the index is behind");
    }
    let readable = match failed.displaced() {
        None => mount_failed(failed, &shared.index, error.kind() == LIED),
        Some(why) => Err(Unusable::Gone(why)),
    };
    let readable = readable.and_then(|(mounted, found)| {
        let (overwritten, damaged): (Vec<u32>, Vec<u32>) =
            found.vanished.iter().partition(|extent| given_up.contains(extent));
        let id = mounted.superblock.disk;
        shared.forget_vanished(disk, id, &overwritten, Reclaim::ForSpace)?;
        shared.forget_vanished(disk, id, &damaged, Reclaim::Damaged)?;
        shared.learn_found(disk, found.changes)?;
        Ok(mounted)
    });
    match readable {
        Ok(mounted) => {
            disk.put_in(Arc::new(mounted), DiskState::ReadOnly { why: why.clone(), since: Instant::now() });
            shared.tell(disk, DiskChange::ReadOnly(why));
        }
        Err(unusable) => {
            tracing::debug!(disk = %disk.config.path.display(), ?unusable, "it cannot be read either");
            let jobs = disk.take_out(DiskState::Gone { why: why.clone(), since: Instant::now() });
            shared.tell(disk, DiskChange::Gone(why));
            shared.send_elsewhere(jobs, GapReason::DiskGone);
        }
    }
}

/// Takes a disk out of use that is not there; what is queued for it goes elsewhere.
fn fail_wholly(shared: &Shared, disk: &Disk, why: String) {
    disk.retry().failed(Instant::now(), shared.reprobe_interval);
    let jobs = disk.take_out(DiskState::Gone { why: why.clone(), since: Instant::now() });
    shared.tell(disk, DiskChange::Gone(why));
    shared.send_elsewhere(jobs, GapReason::DiskGone);
}

fn give_away(shared: &Shared, disk: &Disk, jobs: &mut VecDeque<Job>) {
    let jobs = std::mem::take(jobs);
    disk.unqueued(jobs.iter().map(Job::held_bytes).sum());
    shared.send_elsewhere(jobs, GapReason::DiskGone);
}
