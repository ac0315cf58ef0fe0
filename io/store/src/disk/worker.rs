//! The thread that writes one disk: takes all that is queued, writes it, flushes once, tells, repeats.
//!
//! When a write fails, nothing of the round counts: its records and all that are queued go to another disk, and this
//! one is looked for again every few seconds and recovered from what it then holds.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Disk, KEEPS_UP_BELOW, Mounted, SLOW_AFTER, Takes, Unusable, gauge};
use crate::shared::Shared;
use crate::volume::{Job, Plan, execute};
use crate::{Commit, DiskChange, DiskState, Lane};
use keepwatch_model::GapReason;

/// Most bytes of one round: bounds the time until the first of its records is told to be durable.
const ROUND_BYTES_MAX: u64 = 32 << 20;

/// Writes `disk` until it is told to stop.
pub(crate) fn run(shared: &Shared, disk: &Disk) {
    let mut looked_at = Instant::now();
    loop {
        let interval = shared.reprobe_interval;
        let work = disk.wait(interval.saturating_sub(looked_at.elapsed()));
        if looked_at.elapsed() >= interval {
            look(shared, disk);
            shared.pool.trim();
            shared.holds.pool.trim();
            shared.backfill_pool.trim();
            looked_at = Instant::now();
        }
        let mut jobs = work.jobs;
        for (camera, before) in work.expiries {
            let protected = shared.protected();
            let expiry = |mounted: &Mounted| Some(mounted.volume()?.plan_expiry(camera, before, &protected));
            round(shared, disk, &mut jobs, expiry);
        }
        while !jobs.is_empty() {
            write(shared, disk, &mut jobs);
        }
        if work.behind {
            write_behind(shared, disk, work.stopping);
        }
        if work.measure {
            measure(disk);
        }
        if work.stopping {
            if let Some(mounted) = disk.mounted().filter(|mounted| mounted.superblock.writable())
                && let Err(error) = mounted.close()
            {
                tracing::warn!(disk = %disk.config.path.display(), %error, "not marked as closed");
            }
            return;
        }
    }
}

/// Looks whether the disk is still where it should be, or there again.
fn look(shared: &Shared, disk: &Disk) {
    match disk.mounted() {
        Some(mounted) => {
            if let Some(why) = mounted.displaced() {
                fail(shared, disk, why);
            }
        }
        None => match shared.mount(disk) {
            Ok(report) if report.adopted => {} // Told when it was mounted.
            Ok(_) => shared.tell(disk, DiskChange::Returned),
            Err(Unusable::Foreign(owner)) => {
                if disk.set_state(DiskState::Foreign { owner }) {
                    shared.tell(disk, DiskChange::Foreign(owner));
                }
            }
            Err(Unusable::Gone(why)) => {
                tracing::debug!(disk = %disk.config.path.display(), why, "still gone");
                disk.gone_because(why);
            }
            Err(Unusable::Refused(error)) => {
                tracing::debug!(disk = %disk.config.path.display(), %error, "still gone");
                disk.gone_because(error.to_string());
            }
        },
    }
}

/// Writes a round of `jobs`.
fn write(shared: &Shared, disk: &Disk, jobs: &mut VecDeque<Job>) {
    let protected = shared.protected();
    let mut queued = std::mem::take(jobs);
    let plan = |mounted: &Mounted| Some(mounted.volume()?.plan(&mut queued, ROUND_BYTES_MAX, &protected));
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
    let (Some(mut gauge), Some(mounted)) = (disk.take_gauge(), disk.mounted()) else { return };
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
    let Some(mounted) = disk.mounted() else {
        give_away(shared, disk, jobs);
        return false;
    };
    let Some(mut plan) = plan(&mounted) else { return false };
    let full: VecDeque<Job> = plan.take_full().into();
    let allocated = plan.allocates();
    let oldest = plan.oldest();
    match execute(&mounted.superblock, mounted.device.as_ref(), &mut plan) {
        Ok(()) => make_known(shared, disk, &mounted, plan),
        Err(error) => {
            let written: VecDeque<Job> = plan.into_jobs().chain(full).collect();
            disk.unqueued(written.iter().map(Job::held_bytes).sum());
            let no_space = error.raw_os_error() == Some(libc::ENOSPC);
            fail(shared, disk, error.to_string());
            let reason = if no_space { GapReason::DiskFull } else { GapReason::DiskGone };
            shared.send_elsewhere(written, reason);
            give_away(shared, disk, jobs);
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
    for ((camera, stream), spans, why) in outcome.reclaimed {
        shared.events.reclaimed(camera, stream, &spans, why);
    }
    for job in outcome.durable {
        disk.unqueued(job.held_bytes());
        let (camera, stream, lane) = job.slot();
        let (info, queued_at) = (job.header.info, job.queued_at);
        let id = mounted.superblock.disk;
        drop(job); // Its memory is free before anyone hears of it.
        shared.events.durable(&Commit { camera, stream, lane, info, disk: id, queued_at });
    }
}

fn note_room(shared: &Shared, disk: &Disk, full: bool, allocated: bool) {
    if full {
        if disk.set_state(DiskState::Full) {
            shared.tell(disk, DiskChange::Full);
        }
    } else if allocated && disk.takes() == Takes::WhatFits && disk.set_state(DiskState::Online) {
        shared.tell(disk, DiskChange::HasRoom);
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

/// Takes the disk out of use; what is queued for it goes elsewhere.
fn fail(shared: &Shared, disk: &Disk, why: String) {
    let jobs = disk.take_out(DiskState::Gone { why: why.clone(), since: Instant::now() });
    shared.tell(disk, DiskChange::Gone(why));
    shared.send_elsewhere(jobs, GapReason::DiskGone);
}

fn give_away(shared: &Shared, disk: &Disk, jobs: &mut VecDeque<Job>) {
    let jobs = std::mem::take(jobs);
    disk.unqueued(jobs.iter().map(Job::held_bytes).sum());
    shared.send_elsewhere(jobs, GapReason::DiskGone);
}
