//! A primary: it records its cameras, says what of them is durable, and fails in the ways that recorders do.

use keepwatch_model::{CameraId, GapReason};
use keepwatch_recording::failover::{CameraReport, Demand, Recorded, Report, Version};

use crate::chance::Chance;
use crate::disk::{Disk, Session};
use crate::frames::Frames;
use crate::{SECOND, camera, camera_time};

pub(crate) const VERSION: Version = Version { major: 1, minor: 0, protocol: 1 };
/// A session without frames ends after so long.
const SILENT_STEPS: u64 = 3 * SECOND;
/// A session is tried again after so long.
const REDIAL_STEPS: u64 = 2 * SECOND;
/// Steps that a flush takes on a disk that is well.
pub(crate) const FLUSH_STEPS: u64 = 3;

/// How the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// It runs.
    Runs,
    /// It stands still: it answers nobody, and what is connected to it stays connected.
    Stopped,
    /// There is none.
    Gone,
}

/// A camera at its primary.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) id: CameraId,
    /// Frames reach the primary.
    pub(crate) linked: bool,
    session: Option<Session>,
    /// When the next session begins, and when the last frame came.
    dial_at: u64,
    heard_at: u64,
    /// Something of the session that stands is durable.
    durable: bool,
    pub(crate) held: Frames,
    /// What it got back from others.
    pub(crate) fetched: Frames,
}

/// A primary.
#[derive(Clone, Debug)]
pub(crate) struct Primary {
    pub(crate) process: Process,
    pub(crate) channels: Vec<Channel>,
    pub(crate) disk: Disk<usize>,
    pub(crate) epoch: u64,
}

impl Primary {
    pub(crate) fn new(cameras: usize) -> Self {
        let channel = |number| Channel {
            id: camera(number),
            linked: true,
            session: None,
            dial_at: 1,
            heard_at: 0,
            durable: false,
            held: Frames::default(),
            fetched: Frames::default(),
        };
        let channels = (0..cameras).map(channel).collect();
        Self { process: Process::Runs, channels, disk: Disk::new(FLUSH_STEPS), epoch: 1 }
    }

    pub(crate) fn kill(&mut self) {
        self.process = Process::Gone;
        self.disk.lose();
        for channel in &mut self.channels {
            channel.session = None;
        }
    }

    pub(crate) fn stop(&mut self) {
        self.process = Process::Stopped;
    }

    /// It runs, again or further on.
    pub(crate) fn run(&mut self, step: u64, chance: &mut Chance) {
        for channel in &mut self.channels {
            // What did not fit into the buffers of a process that stood still is missing: the session begins anew.
            channel.session = None;
            channel.dial_at = step + chance.between(3, 15);
        }
        self.process = Process::Runs;
    }

    /// The disk dies or is well.
    pub(crate) fn break_disk(&mut self, dead: bool) {
        self.disk.dead = dead;
        self.disk.lose();
        for channel in &mut self.channels {
            channel.durable = false;
        }
    }

    pub(crate) fn step(&mut self, step: u64) {
        if self.process != Process::Runs {
            return;
        }
        for (number, channel) in self.channels.iter_mut().enumerate() {
            let ended = channel.step(step, self.disk.dead);
            if let Some(record) = ended {
                self.disk.queue(step, number, record);
            }
        }
        while let Some((number, record)) = self.disk.durable(step) {
            if let Some(channel) = self.channels.get_mut(number) {
                channel.held.add(record);
                channel.durable = channel.session.is_some();
            }
        }
    }

    /// What it answers to a check.
    pub(crate) fn report(&self) -> Report {
        let cameras = self.channels.iter().map(|channel| CameraReport {
            camera: channel.id,
            demand: Demand { bits_per_second: 4_000_000 },
            recorded: channel.recorded(self.disk.dead),
        });
        Report { epoch: self.epoch, version: VERSION, cameras: cameras.collect() }
    }
}

impl Channel {
    /// Receives the frame of this step; returns the record that ended.
    fn step(&mut self, step: u64, disk_dead: bool) -> Option<std::ops::Range<u64>> {
        if self.session.is_none() && self.linked && step >= self.dial_at {
            self.session = Some(Session::default());
            (self.heard_at, self.durable) = (step, false);
        }
        let session = self.session.as_mut()?;
        if self.linked {
            let missed = step > self.heard_at + 1;
            self.heard_at = step;
            // A record ends where frames are missing, and the next begins with a group.
            let broken = if missed { session.end() } else { None };
            return session.receive(step).or(broken);
        }
        if step.saturating_sub(self.heard_at) < SILENT_STEPS && !disk_dead {
            return None;
        }
        let last = session.end();
        (self.session, self.durable) = (None, false);
        self.dial_at = step + REDIAL_STEPS;
        last
    }

    fn recorded(&self, disk_dead: bool) -> Recorded {
        match self.held.newest().filter(|_| self.durable && self.session.is_some() && !disk_dead) {
            Some(held) => Recorded::Durable { from: camera_time(held.start), until: camera_time(held.end) },
            None if disk_dead => Recorded::Missing(GapReason::DiskGone),
            None => Recorded::Missing(GapReason::ConnectionLost),
        }
    }
}
