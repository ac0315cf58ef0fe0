//! A site: primaries and standbys, what connects them, and what fails of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keepwatch_cluster::Memory;
use keepwatch_model::{CameraId, MonoTime, RoleId};
use keepwatch_recording::failover::{Capacity, Demand, Event, Missed};

use crate::chance::Chance;
use crate::frames::Frames;
use crate::primary::{FLUSH_STEPS, Primary, Process};
use crate::standby::{Node, Wish};
use crate::{SECOND, moment, role};

/// What a standby can do.
#[derive(Clone, Copy, Debug)]
pub struct Ability {
    /// How many cameras it can record.
    pub capacity: usize,
    /// It has pre-buffers.
    pub buffers: bool,
}

/// How large a site is.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Primaries.
    pub primaries: usize,
    /// Cameras of each.
    pub cameras: usize,
    /// Standbys, all of which watch all primaries.
    pub standbys: Vec<Ability>,
}

/// What fails, or is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process of a primary.
    Kill(usize),
    /// It stands still.
    Stop(usize),
    /// Its disk takes so many steps for a flush.
    SlowDisk(usize, u64),
    /// Its disk is gone.
    DeadDisk(usize),
    /// One of its cameras does not reach it.
    CameraCut(usize, usize),
    /// None of its cameras reaches it.
    CamerasCut(usize),
    /// A standby and a primary do not reach each other.
    Parted(usize, usize),
    /// A standby does not reach the coordination.
    Uncoordinated(usize),
    /// The process of a standby.
    KillStandby(usize),
    /// The cameras of a primary do not reach a standby.
    Blind(usize, usize),
}

/// Frames of a camera that are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Whose camera.
    pub primary: usize,
    /// Which.
    pub camera: CameraId,
    /// Which frames.
    pub frames: Vec<Range<u64>>,
}

/// A site.
pub struct Site {
    step: u64,
    chance: Chance,
    clock: Arc<AtomicU64>,
    memory: Memory,
    primaries: Vec<Primary>,
    standbys: Vec<Node>,
    parted: BTreeSet<(usize, usize)>,
    uncoordinated: BTreeSet<usize>,
    /// Who held each epoch of each claim.
    holders: BTreeMap<(RoleId, u64), RoleId>,
    faults: Vec<(u64, Fault, bool)>,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "at step {}", self.step)?;
        let mut lines: Vec<(u64, String)> = Vec::new();
        for (step, fault, begins) in &self.faults {
            lines.push((*step, format!("{} {fault:?}", if *begins { "begins" } else { "ends" })));
        }
        for (number, standby) in self.standbys.iter().enumerate() {
            lines.extend(
                standby
                    .told
                    .iter()
                    .map(|(step, role, told)| (*step, format!("standby {number}: {role} {told:?}"))),
            );
        }
        lines.sort();
        lines.iter().try_for_each(|(step, line)| writeln!(f, "  {step:>5} {line}"))
    }
}

impl Site {
    /// A site that runs.
    pub fn new(shape: &Shape, seed: u64) -> Self {
        let clock = Arc::new(AtomicU64::new(0));
        let of_memory = Arc::clone(&clock);
        let memory =
            Memory::with_clock(Arc::new(move || moment(MonoTime::ZERO, of_memory.load(Ordering::Relaxed))));
        let mut chance = Chance::new(seed);
        let primaries: Vec<Primary> = (0..shape.primaries).map(|_| Primary::new(shape.cameras)).collect();
        let mut standbys = Vec::new();
        for (number, ability) in shape.standbys.iter().enumerate() {
            let capacity = Capacity { cameras: ability.capacity, bits_per_second: u64::MAX };
            // No two processes begin to count at the same moment.
            let begin = MonoTime::ZERO + std::time::Duration::from_millis(chance.between(0, 1 << 40));
            let mut node = Node::new(role(100 + number), begin, capacity, ability.buffers);
            for (number, primary) in primaries.iter().enumerate() {
                let cameras: Vec<CameraId> = primary.channels.iter().map(|channel| channel.id).collect();
                node.register(role(number), &cameras);
            }
            node.start(0);
            standbys.push(node);
        }
        Self {
            step: 0,
            chance,
            clock,
            memory,
            primaries,
            standbys,
            parted: BTreeSet::new(),
            uncoordinated: BTreeSet::new(),
            holders: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// The number of the next frame.
    pub fn now(&self) -> u64 {
        self.step
    }

    /// Chance of this site.
    pub fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// Something fails.
    pub fn begin(&mut self, fault: Fault) {
        self.change(fault, true);
    }

    /// It is well again.
    pub fn end(&mut self, fault: Fault) {
        self.change(fault, false);
    }

    fn change(&mut self, fault: Fault, fails: bool) {
        self.faults.push((self.step, fault, fails));
        let step = self.step;
        match fault {
            Fault::Kill(number) if fails => self.primaries[number].kill(),
            Fault::Stop(number) if fails => self.primaries[number].stop(),
            Fault::Kill(number) | Fault::Stop(number) => self.primaries[number].run(step, &mut self.chance),
            Fault::SlowDisk(number, steps) => {
                self.primaries[number].disk.latency = if fails { steps } else { FLUSH_STEPS };
            }
            Fault::DeadDisk(number) => self.primaries[number].break_disk(fails),
            Fault::CameraCut(number, camera) => self.primaries[number].channels[camera].linked = !fails,
            Fault::CamerasCut(number) => {
                for channel in &mut self.primaries[number].channels {
                    channel.linked = !fails;
                }
            }
            Fault::Parted(standby, number) => set(&mut self.parted, (standby, number), fails),
            Fault::Uncoordinated(standby) => set(&mut self.uncoordinated, standby, fails),
            Fault::KillStandby(standby) if fails => self.standbys[standby].kill(),
            Fault::KillStandby(standby) => self.standbys[standby].start(step),
            Fault::Blind(standby, number) => set(&mut self.standbys[standby].blind, role(number), fails),
        }
    }

    /// Lets so many steps pass.
    pub fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step += 1;
            self.clock.store(self.step, Ordering::Relaxed);
            for primary in &mut self.primaries {
                primary.step(self.step);
            }
            for number in 0..self.standbys.len() {
                self.step_standby(number);
            }
            if self.step.is_multiple_of(SECOND) {
                self.replenish();
            }
        }
    }

    /// The same, with an operator who gives back every failover whose primary is well.
    pub fn run_with_operator(&mut self, steps: u64) {
        for step in 0..steps {
            self.run(1);
            if step.is_multiple_of(3 * SECOND) {
                for standby in &mut self.standbys {
                    standby.fail_back(self.step);
                }
            }
        }
    }

    fn step_standby(&mut self, number: usize) {
        let memory = (!self.uncoordinated.contains(&number)).then_some(&self.memory);
        let node = &mut self.standbys[number];
        if !node.runs() {
            return;
        }
        let before = node.leases();
        node.step(self.step);
        if let Some(memory) = memory {
            node.releases(memory, &before);
        }
        node.renew(self.step, memory);
        for wish in std::mem::take(&mut node.wishes) {
            self.grant(number, wish);
        }
    }

    /// What comes of something that a standby asked of the world.
    fn grant(&mut self, standby: usize, wish: Wish) {
        let later = self.step + self.chance.between(1, 3);
        let of = |role: RoleId| usize::from(role.0[0]);
        match wish {
            Wish::Check(role, check) => {
                let primary = &self.primaries[of(role)];
                if self.parted.contains(&(standby, of(role))) || primary.process == Process::Stopped {
                    return;
                }
                let event = if primary.process == Process::Gone {
                    Event::Missed { role, check, why: Missed::Disconnected }
                } else {
                    Event::Answered { role, check, report: primary.report() }
                };
                self.standbys[standby].tell(later, event);
            }
            Wish::BackUp(role) => {
                let primary = &self.primaries[of(role)];
                if !self.parted.contains(&(standby, of(role))) && primary.process == Process::Runs {
                    let demand = Demand { bits_per_second: 4_000_000 };
                    let cameras = primary.channels.iter().map(|channel| (channel.id, demand)).collect();
                    self.standbys[standby].tell(later, Event::BackedUp { role, cameras });
                }
            }
            Wish::Try(role, camera) => {
                let received = !self.standbys[standby].blind.contains(&role);
                self.standbys[standby].tell(later, Event::Tried { role, camera, received });
            }
            Wish::Claim(role) => {
                let memory = (!self.uncoordinated.contains(&standby)).then_some(&self.memory);
                let Some(lease) = self.standbys[standby].claim(self.step, role, memory) else { return };
                let first = *self.holders.entry((role, lease.epoch)).or_insert(lease.holder);
                assert_eq!(first, lease.holder, "epoch {} of {role} has two holders\n{self:?}", lease.epoch);
            }
        }
    }

    /// Primaries that run fetch what they lack from the standbys that they reach.
    fn replenish(&mut self) {
        for (number, primary) in self.primaries.iter_mut().enumerate() {
            if primary.process != Process::Runs || primary.disk.dead {
                continue;
            }
            for (standby, node) in self.standbys.iter().enumerate() {
                if self.parted.contains(&(standby, number)) || !node.runs() {
                    continue;
                }
                for channel in &mut primary.channels {
                    if let Some(held) = node.held(role(number), channel.id) {
                        channel.fetched.add_all(held);
                    }
                }
            }
        }
    }

    /// Whether nothing is covered any more, and nothing is missing.
    pub fn is_idle(&self) -> bool {
        self.standbys.iter().all(Node::is_idle)
    }

    /// Frames of `whole` that nobody holds, by primary and camera.
    pub fn lost(&self, whole: &Range<u64>) -> Vec<Lack> {
        self.lacks(|all, _| all.missing(whole.clone()))
    }

    /// Frames that some node holds and their primary does not, not even after replenishment.
    pub fn not_replenished(&self) -> Vec<Lack> {
        self.lacks(|all, own| if own == all { Vec::new() } else { own.missing(0..self.step) })
    }

    /// What is missing of each camera, judged by what all nodes hold and what its primary does.
    fn lacks(&self, missing: impl Fn(&Frames, &Frames) -> Vec<Range<u64>>) -> Vec<Lack> {
        let mut lacks = Vec::new();
        for (primary, recorder) in self.primaries.iter().enumerate() {
            for channel in &recorder.channels {
                let mut own = channel.held.clone();
                own.add_all(&channel.fetched);
                let mut all = own.clone();
                let theirs = self.standbys.iter().filter_map(|node| node.held(role(primary), channel.id));
                theirs.for_each(|theirs| all.add_all(theirs));
                let frames = missing(&all, &own);
                if !frames.is_empty() {
                    lacks.push(Lack { primary, camera: channel.id, frames });
                }
            }
        }
        lacks
    }
}

fn set<T: Ord>(of: &mut BTreeSet<T>, what: T, is: bool) {
    if is {
        of.insert(what);
    } else {
        of.remove(&what);
    }
}
