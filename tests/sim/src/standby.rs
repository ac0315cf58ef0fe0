//! A standby: the machine of the product, and a model of the shell around it: guests, pre-buffer, disk, claims.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use futures_util::FutureExt as _;
use keepwatch_cluster::{AcquireError, Coord, Lease, Memory};
use keepwatch_model::{CameraId, Machine as _, MonoTime, RoleId};
use keepwatch_recording::failover::{
    Action, Capacity, Command, Demand, Event, Mode, PrimaryView, Registration, Setup, Standby, Told,
};

use crate::disk::{Disk, Session};
use crate::frames::Frames;
use crate::primary::{FLUSH_STEPS, VERSION};
use crate::{GROUP_FRAMES, SECOND, camera_time, frame_at, moment};

/// How long a claim outlives its standby, and how often it is renewed.
const CLAIM: Duration = Duration::from_secs(10);
/// See [`CLAIM`].
const RENEW_STEPS: u64 = 3 * SECOND;
/// From dialling a camera to its first frame.
const DIAL_STEPS: u64 = 3;

/// What a guest is recorded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    Rest,
    Buffer,
    Record,
}

/// A camera of a primary at the standby.
#[derive(Debug)]
struct Guest {
    duty: Duty,
    session: Option<Session>,
    dial_at: u64,
    /// Closed records that wait, oldest first.
    buffered: VecDeque<Range<u64>>,
    held: Frames,
}

/// What of a primary survives a restart.
#[derive(Clone, Debug)]
struct Kept {
    epoch: u64,
    mode: Mode,
    covered: bool,
    alone: Vec<CameraId>,
}

/// What the shell asks of the world outside of the standby.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// A check of this number.
    Check(RoleId, u64),
    /// The configuration.
    BackUp(RoleId),
    /// Whether this camera can be received.
    Try(RoleId, CameraId),
    /// The claim.
    Claim(RoleId),
}

/// A standby.
#[derive(Debug)]
pub(crate) struct Node {
    holder: RoleId,
    begin: MonoTime,
    capacity: Capacity,
    buffers: bool,
    /// `None` while the process does not run.
    machine: Option<Standby>,
    guests: BTreeMap<(RoleId, CameraId), Guest>,
    /// Primaries whose cameras do not reach it.
    pub(crate) blind: BTreeSet<RoleId>,
    kept: BTreeMap<RoleId, Kept>,
    disk: Disk<(RoleId, CameraId)>,
    /// What is on its way to the machine, by the step at which it comes.
    inbox: Vec<(u64, Event)>,
    leases: BTreeMap<RoleId, (Lease, u64)>,
    pub(crate) wishes: Vec<Wish>,
    /// What it told, for whoever reads of a failure.
    pub(crate) told: Vec<(u64, RoleId, Told)>,
}

impl Node {
    pub(crate) fn new(holder: RoleId, begin: MonoTime, capacity: Capacity, buffers: bool) -> Self {
        Self {
            holder,
            begin,
            capacity,
            buffers,
            machine: None,
            guests: BTreeMap::new(),
            blind: BTreeSet::new(),
            kept: BTreeMap::new(),
            disk: Disk::new(FLUSH_STEPS),
            inbox: Vec::new(),
            leases: BTreeMap::new(),
            wishes: Vec::new(),
            told: Vec::new(),
        }
    }

    pub(crate) fn register(&mut self, role: RoleId, cameras: &[CameraId]) {
        self.kept.insert(role, Kept { epoch: 1, mode: Mode::Auto, covered: false, alone: Vec::new() });
        for camera in cameras {
            let guest = Guest {
                duty: Duty::Rest,
                session: None,
                dial_at: 0,
                buffered: VecDeque::new(),
                held: Frames::default(),
            };
            self.guests.insert((role, *camera), guest);
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.machine.is_some()
    }

    pub(crate) fn start(&mut self, step: u64) {
        let now = moment(self.begin, step);
        let mut machine = Standby::new(VERSION, Setup::default(), self.capacity);
        let mut out = Vec::new();
        let idle = if self.buffers { Duty::Buffer } else { Duty::Rest };
        for guest in self.guests.values_mut() {
            guest.set(step, idle);
        }
        for (role, kept) in &self.kept {
            let cameras: Vec<CameraId> =
                self.guests.keys().filter(|(of, _)| of == role).map(|(_, camera)| *camera).collect();
            let registration = Registration {
                role: *role,
                epoch: kept.epoch,
                mode: kept.mode,
                priority: 0,
                covered: if kept.covered { cameras.clone() } else { Vec::new() },
                alone: kept.alone.clone(),
                cameras: cameras
                    .into_iter()
                    .map(|camera| (camera, Demand { bits_per_second: 4_000_000 }))
                    .collect(),
            };
            machine.handle(now, Event::Registered(registration), &mut out);
        }
        self.machine = Some(machine);
        self.carry_out(step, out);
    }

    pub(crate) fn kill(&mut self) {
        self.machine = None;
        self.disk.lose();
        self.inbox.clear();
        self.wishes.clear();
        self.leases.clear();
        for guest in self.guests.values_mut() {
            guest.session = None;
            guest.duty = Duty::Rest;
            guest.buffered.clear();
        }
    }

    /// Something comes to the machine after `steps`.
    pub(crate) fn tell(&mut self, at: u64, event: Event) {
        if self.machine.is_some() {
            self.inbox.push((at, event));
        }
    }

    /// What it holds of a camera.
    pub(crate) fn held(&self, role: RoleId, camera: CameraId) -> Option<&Frames> {
        self.guests.get(&(role, camera)).map(|guest| &guest.held)
    }

    pub(crate) fn is_idle(&self) -> bool {
        let Some(machine) = &self.machine else { return false };
        machine.failovers().next().is_none()
            && machine.monitoring().all(|view| view.covered_alone.is_empty() && view.missing.is_empty())
            && self.guests.values().all(|guest| guest.duty != Duty::Record)
    }

    /// Gives back what an operator would.
    pub(crate) fn fail_back(&mut self, step: u64) {
        let Some(machine) = &mut self.machine else { return };
        let ready: Vec<RoleId> =
            machine.failovers().filter(|view| view.normal && !view.returning).map(|view| view.role).collect();
        let mut out = Vec::new();
        for role in ready {
            // Refused when it is not normal any more; asked again later.
            let _ = machine.command(moment(self.begin, step), Command::Failback(role), &mut out);
        }
        self.carry_out(step, out);
    }

    pub(crate) fn step(&mut self, step: u64) {
        if self.machine.is_none() {
            return;
        }
        let (buffer_frames, blind) = (self.buffer_frames(), &self.blind);
        for ((role, camera), guest) in &mut self.guests {
            let reachable = !blind.contains(role);
            for record in guest.step(step, reachable, buffer_frames) {
                self.disk.queue(step, (*role, *camera), record);
            }
        }
        while let Some(((role, camera), record)) = self.disk.durable(step) {
            let until = camera_time(record.end);
            if let Some(guest) = self.guests.get_mut(&(role, camera)) {
                guest.held.add(record);
            }
            self.inbox.push((step, Event::Durable { role, camera, until }));
        }
        let now = moment(self.begin, step);
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.inbox).into_iter().partition(|(at, _)| *at <= step);
        self.inbox = later;
        for (_, event) in due {
            self.handle(step, event);
        }
        let mut out = Vec::new();
        if let Some(machine) = &mut self.machine
            && machine.deadline().is_some_and(|(at, _)| at <= now)
        {
            machine.timeout(now, &mut out);
        }
        self.carry_out(step, out);
    }

    fn handle(&mut self, step: u64, event: Event) {
        let Some(machine) = &mut self.machine else { return };
        let mut out = Vec::new();
        machine.handle(moment(self.begin, step), event, &mut out);
        self.carry_out(step, out);
    }

    /// Frames that a pre-buffer has room for: the time until a failover starts, and what is not on the primary's disk yet.
    fn buffer_frames(&self) -> u64 {
        let setup = self.machine.as_ref().map(Standby::setup).unwrap_or_default();
        setup.takes_over_after_max().as_secs() * SECOND + 3 * SECOND
    }

    fn carry_out(&mut self, step: u64, actions: Vec<Action>) {
        let idle = if self.buffers { Duty::Buffer } else { Duty::Rest };
        for action in actions {
            match action {
                Action::Check { role, check } => self.wishes.push(Wish::Check(role, check)),
                Action::BackUp(role) => self.wishes.push(Wish::BackUp(role)),
                Action::Try { role, camera } => self.wishes.push(Wish::Try(role, camera)),
                Action::Claim(role) => self.wishes.push(Wish::Claim(role)),
                Action::Record { role, camera } => {
                    for record in self.guest(role, camera).set(step, Duty::Record) {
                        self.disk.queue(step, (role, camera), record);
                    }
                }
                Action::Rest { role, camera } => {
                    let Some(record) = self.guest(role, camera).rest(step, idle) else { continue };
                    self.disk.queue(step, (role, camera), record);
                }
                Action::Save { role, camera, span } => {
                    let wanted = frame_at(span.from)..frame_at(span.to);
                    for record in self.guest(role, camera).take(&wanted) {
                        self.disk.queue(step, (role, camera), record);
                    }
                }
                Action::Trim { role, camera, until } => {
                    let until = frame_at(until);
                    self.guest(role, camera).buffered.retain(|record| record.end > until);
                }
                Action::Release(role) => {
                    self.leases.remove(&role);
                }
                Action::Keep(role) => self.keep(role),
                Action::Tell(role, told) => self.told.push((step, role, told)),
            }
        }
    }

    fn keep(&mut self, role: RoleId) {
        let Some(machine) = &self.machine else { return };
        let covered = machine.failovers().any(|view| view.role == role);
        if let Some(view) = machine.monitoring().find(|view| view.role == role) {
            let PrimaryView { epoch, mode, covered_alone: alone, .. } = view;
            self.kept.insert(role, Kept { epoch, mode, covered, alone });
        }
    }

    fn guest(&mut self, role: RoleId, camera: CameraId) -> &mut Guest {
        self.guests.get_mut(&(role, camera)).expect("the machine knows registered cameras only")
    }

    /// Asks the coordination, which is reached when `coordination` says so. Returns the lease that it got.
    pub(crate) fn claim(&mut self, step: u64, role: RoleId, coordination: Option<&Memory>) -> Option<Lease> {
        let asked = coordination.and_then(|memory| memory.acquire(role, self.holder, CLAIM).now_or_never());
        let (event, lease) = match asked {
            Some(Ok(lease)) => (Event::Claimed { role }, Some(lease)),
            Some(Err(AcquireError::Held { .. })) => (Event::HeldByOther { role }, None),
            Some(Err(AcquireError::Unavailable(_))) | None => (Event::Unclaimable { role }, None),
        };
        if let Some(lease) = lease {
            self.leases.insert(role, (lease, step + RENEW_STEPS));
        }
        self.tell(step, event);
        lease
    }

    /// Renews the claims that are due; one that cannot be is asked for again by the machine.
    pub(crate) fn renew(&mut self, step: u64, coordination: Option<&Memory>) {
        let due = self.leases.iter_mut().filter(|(_, (_, at))| *at <= step);
        let mut lost = Vec::new();
        for (role, (lease, at)) in due {
            match coordination.and_then(|memory| memory.renew(*lease).now_or_never()) {
                Some(Ok(())) => *at = step + RENEW_STEPS,
                Some(Err(_)) | None => lost.push(*role),
            }
        }
        for role in lost {
            self.leases.remove(&role);
            self.tell(step, Event::Unclaimable { role });
        }
    }

    /// Gives back what the machine released.
    pub(crate) fn releases(&mut self, memory: &Memory, before: &BTreeMap<RoleId, Lease>) {
        for (role, lease) in before {
            if !self.leases.contains_key(role) {
                // A lease that is over is over.
                let _ = memory.release(*lease).now_or_never();
            }
        }
    }

    pub(crate) fn leases(&self) -> BTreeMap<RoleId, Lease> {
        self.leases.iter().map(|(role, (lease, _))| (*role, *lease)).collect()
    }
}

impl Guest {
    /// Changes its duty; returns what goes to the disk before all that follows.
    fn set(&mut self, step: u64, duty: Duty) -> Vec<Range<u64>> {
        self.duty = duty;
        if duty != Duty::Rest && self.session.is_none() {
            self.dial_at = self.dial_at.max(step + DIAL_STEPS);
        }
        if duty == Duty::Record { self.buffered.drain(..).collect() } else { Vec::new() }
    }

    /// Records no more; without a pre-buffer it hangs up, and what was received is written.
    fn rest(&mut self, step: u64, duty: Duty) -> Option<Range<u64>> {
        self.set(step, duty);
        if duty == Duty::Rest { self.session.take().and_then(|mut session| session.end()) } else { None }
    }

    /// Takes out of the pre-buffer what has frames of `wanted`.
    fn take(&mut self, wanted: &Range<u64>) -> VecDeque<Range<u64>> {
        let (taken, left): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.buffered)
            .into_iter()
            .partition(|record| record.start < wanted.end && wanted.start < record.end);
        self.buffered = left;
        taken
    }

    /// Receives the frame of this step; returns records that go to the disk.
    fn step(&mut self, step: u64, reachable: bool, buffer_frames: u64) -> Vec<Range<u64>> {
        if self.duty == Duty::Rest {
            return Vec::new();
        }
        let mut records = Vec::new();
        if reachable {
            if self.session.is_none() && step >= self.dial_at {
                self.session = Some(Session::default());
            }
            records.extend(self.session.as_mut().and_then(|session| session.receive(step)));
        } else if let Some(mut session) = self.session.take() {
            records.extend(session.end());
            self.dial_at = step + 2 * SECOND;
        }
        if self.duty == Duty::Record {
            return records;
        }
        self.buffered.extend(records);
        // A record that is open now ends within a group.
        while self.buffered.front().is_some_and(|record| record.end + buffer_frames + GROUP_FRAMES < step) {
            self.buffered.pop_front();
        }
        Vec::new()
    }
}
