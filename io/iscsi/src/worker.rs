//! The thread of a LUN: takes jobs, keeps many commands under way, and makes a lost connection anew.
//!
//! ```text
//!            a job comes                    lost, or no answer for too long
//! Idle ─────────────────────> Connected ─────────────────────────────────┐
//!   ^                             ^                                       v
//!   │                             └──────────── connected ─────────── Reconnecting
//!   └──────── all jobs failed ───────────────── too long ────────────────┘
//! ```
//!
//! Everything that was under way when a connection is lost is sent again, all commands of a transfer, those that were
//! answered too: the target may have lost them. What an earlier transfer wrote cannot be sent again; where it was not
//! flushed, nothing is ever flushed or written any more (`cache_lost`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::LunError;
use crate::job::{Job, Reply, Transfer, Way, Work};
use crate::lun::Shared;
use crate::options::{Options, Owner};
use crate::scsi::Cdb;
use crate::session::{Direction, Outcome, Request, Session};

/// Commands under way at most: at 1 MiB each more than a network holds, and targets have queues of that length.
const UNDER_WAY_MAX: usize = 32;
/// Connections that one job may lose: a command that breaks the target each time is not sent for ever.
const LOSSES_MAX: u32 = 4;
/// Times that a command is refused with a unit attention, which is about something else, before that counts.
const ATTENTIONS_MAX: u32 = 16;
/// Times the longest silence that one command may take while others are answered: a slow line carries all of them at once.
const ONE_OF_MANY: u32 = 6;
/// Time until a target that is busy is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Time after a failure in which all fails at once: callers come one after another, and each would wait anew.
const FAILING: Duration = Duration::from_secs(2);

/// What is known of the LUN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) size_bytes: u64,
    pub(crate) block_bytes: u32,
    /// Most bytes of one command.
    pub(crate) transfer_bytes: u32,
}

/// A reservation that is to be held over every connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding {
    pub(crate) owner: Owner,
    /// The key under which it was registered last.
    pub(crate) key: u64,
}

/// The thread's own.
pub(crate) struct Worker {
    /// First, so that libiscsi forgets the memory of jobs before these end.
    pub(crate) session: Option<Session>,
    active: BTreeMap<u32, Active>,
    /// All commands are answered, but something may still look at their memory.
    settling: Vec<(Active, Result<Reply, LunError>)>,
    /// Jobs that wait for all others.
    waiting: Vec<Job>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: Options,
    /// The same for all sessions.
    pub(crate) isid: u64,
    pub(crate) facts: Option<Facts>,
    pub(crate) holding: Option<Holding>,
    next_job: u32,
    /// Transfers that wrote without a flush of their own.
    written: u64,
    /// Of these, so many are covered by a flush.
    flushed: u64,
    cache_lost: bool,
    /// Why nothing will ever be done again.
    pub(crate) dead: Option<LunError>,
    /// Why connecting failed last, and when.
    failed: Option<(LunError, Instant)>,
    /// When something was answered last, or sent while nothing was under way.
    answered_at: Instant,
    /// SYNCHRONIZE CACHE(16) is not known there.
    synchronize_10: bool,
}

/// A transfer under way.
struct Active {
    job: Job,
    /// The next command to send for the first time.
    next: u32,
    /// To be sent again.
    again: Vec<u32>,
    under_way: usize,
    done: usize,
    /// Set with the flush under way or done: the transfers that it covers.
    flushing: Option<u64>,
    /// It is not before then that busy commands are sent again.
    pause_until: Option<Instant>,
    attentions: u32,
    busy: u32,
    losses: u32,
    failure: Option<LunError>,
}

impl Active {
    fn new(job: Job) -> Self {
        Self {
            job,
            next: 0,
            again: Vec::new(),
            under_way: 0,
            done: 0,
            flushing: None,
            pause_until: None,
            attentions: 0,
            busy: 0,
            losses: 0,
            failure: None,
        }
    }

    fn transfer(&self) -> &Transfer {
        match &self.job.work {
            Work::Transfer(transfer) => transfer,
            Work::Open | Work::Reserve(..) | Work::Release => unreachable!("only transfers are active"),
        }
    }

    /// The number of the flush among its commands.
    fn flush_number(&self) -> u32 {
        u32::try_from(self.transfer().commands.len()).expect("a transfer is bounded by memory")
    }

    /// The next command that can be sent, `written` transfers being over by now.
    fn pick(&mut self, now: Instant, written: u64) -> Option<u32> {
        if self.failure.is_some() || self.pause_until.is_some_and(|until| now < until) {
            return None;
        }
        self.pause_until = None;
        if let Some(number) = self.again.pop() {
            return Some(number);
        }
        let writes = self.flush_number();
        if self.next < writes {
            self.next += 1;
            return Some(self.next - 1);
        }
        // The flush follows when all is written.
        let all_written = self.done == writes as usize;
        if self.transfer().flush && all_written && self.flushing.is_none() {
            self.flushing = Some(written);
            return Some(writes);
        }
        None
    }

    /// Begins again.
    fn restart(&mut self) {
        self.next = 0;
        self.again.clear();
        self.under_way = 0;
        self.done = 0;
        self.flushing = None;
        self.losses += 1;
    }

    fn is_over(&self) -> bool {
        let commands = self.flush_number() as usize + usize::from(self.transfer().flush);
        self.under_way == 0 && (self.failure.is_some() || self.done == commands)
    }
}

impl Worker {
    pub(crate) fn new(options: Options, shared: Arc<Shared>) -> Result<Self, LunError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| LunError::Unfit(format!("no random bytes: {error}")))?;
        Ok(Self {
            session: None,
            active: BTreeMap::new(),
            settling: Vec::new(),
            waiting: Vec::new(),
            shared,
            options,
            isid: u64::from_ne_bytes(random),
            facts: None,
            holding: None,
            next_job: 0,
            written: 0,
            flushed: 0,
            cache_lost: false,
            dead: None,
            failed: None,
            answered_at: Instant::now(),
            synchronize_10: false,
        })
    }

    /// Works until the LUN is closed and all jobs have ended.
    pub(crate) fn run(mut self) {
        loop {
            let (jobs, stopping) = self.shared.take();
            for job in jobs {
                self.accept(job);
            }
            if stopping {
                break;
            }
            if self.active.is_empty() && self.settling.is_empty() {
                let waiting = std::mem::take(&mut self.waiting);
                for job in waiting {
                    self.control(job);
                }
            }
            if self.session.is_none() && !self.active.is_empty() {
                self.reconnect();
            }
            self.turn();
        }
        // The session goes before the jobs do; nobody asks for anything when a LUN is dropped.
        self.session = None;
        self.shared.end();
    }

    fn accept(&mut self, job: Job) {
        let refusal = match &job.work {
            Work::Transfer(transfer) => self.refusal(transfer),
            Work::Open | Work::Reserve(..) | Work::Release => self.dead.clone(),
        };
        if let Some(refusal) = refusal {
            return job.end(Err(refusal));
        }
        match job.work {
            Work::Transfer(_) => {
                self.next_job = self.next_job.wrapping_add(1);
                self.active.insert(self.next_job, Active::new(job));
            }
            Work::Open | Work::Reserve(..) | Work::Release => self.waiting.push(job),
        }
    }

    fn refusal(&self, transfer: &Transfer) -> Option<LunError> {
        if let Some(dead) = &self.dead {
            return Some(dead.clone());
        }
        if self.cache_lost && transfer.direction == Way::Write {
            return Some(LunError::CacheLost);
        }
        self.failed.as_ref().filter(|(_, at)| at.elapsed() < FAILING).map(|(why, _)| why.clone())
    }

    /// One round: send, wait, receive, tell.
    fn turn(&mut self) {
        let Some(session) = &self.session else {
            let mut waited = [PollFd::new(&self.shared.wake, PollFlags::IN)];
            if self.active.is_empty() && self.waiting.is_empty() {
                // What is interrupted is looked at again.
                let _ = poll(&mut waited, None);
            }
            return;
        };
        if session.under_way() == 0 {
            self.answered_at = Instant::now();
        }
        self.send();
        let longest = self.longest_wait();
        let Some(session) = &mut self.session else { return };
        let waited = session.wait(Some(&self.shared.wake), longest);
        let serviced = waited.and_then(|(ready, _)| session.service(ready));
        for (token, outcome) in session.answers() {
            self.answered_at = Instant::now();
            self.note(token, outcome);
            // What came with the answer that ended the session is asked again.
            if self.session.is_none() {
                return;
            }
        }
        self.finish();
        if let Err(why) = serviced {
            self.lose(&why);
        } else if let Some(oldest) = self.session.as_ref().and_then(Session::longest_unanswered) {
            let most = self.options.answer_max;
            if self.answered_at.elapsed() > most || oldest > most * ONE_OF_MANY {
                self.lose("a command was not answered for too long");
            }
        }
    }

    fn longest_wait(&self) -> Duration {
        let paused = self.active.values().any(|active| active.pause_until.is_some());
        let settling = !self.settling.is_empty();
        if paused || settling {
            return BUSY_PAUSE;
        }
        match &self.session {
            Some(session) if session.under_way() > 0 => {
                self.options.answer_max.saturating_sub(self.answered_at.elapsed()).min(Duration::from_secs(1))
            }
            // The target asks now and then whether we are there, which is answered in between.
            Some(_) | None => Duration::from_secs(60),
        }
    }

    /// Sends what there is room for, one command of each job in turn.
    fn send(&mut self) {
        let now = Instant::now();
        let Some(session) = &mut self.session else { return };
        let mut sent = true;
        let mut taken = true;
        while sent && taken {
            sent = false;
            for (id, active) in &mut self.active {
                if session.under_way() >= UNDER_WAY_MAX {
                    return;
                }
                let Some(number) = active.pick(now, self.written) else { continue };
                let request = match active.transfer().commands.get(number as usize) {
                    Some(command) => command.request(active.transfer().direction),
                    None => flush_request(self.synchronize_10),
                };
                let token = u64::from(*id) << 32 | u64::from(number);
                taken &= session.submit(token, request);
                active.under_way += 1;
                sent = true;
            }
        }
        if !taken {
            self.lose("the session takes no more commands");
        }
    }

    fn note(&mut self, token: u64, outcome: Outcome) {
        let (id, number) =
            (u32::try_from(token >> 32).unwrap_or(0), u32::try_from(token & 0xffff_ffff).unwrap_or(0));
        let Some(active) = self.active.get_mut(&id) else { return };
        active.under_way -= 1;
        let is_flush = number == active.flush_number();
        let mut lost = None;
        match outcome {
            Outcome::Good { short_bytes: 0 } => {
                active.done += 1;
                (active.attentions, active.busy) = (0, 0);
            }
            Outcome::Good { short_bytes } => active.fail(LunError::Short(short_bytes)),
            Outcome::Busy => {
                active.again.push(number);
                active.pause_until = Some(Instant::now() + BUSY_PAUSE);
                active.busy += 1;
                if active.busy > BUSY_MAX {
                    active.fail(LunError::Busy);
                }
            }
            Outcome::Conflict => active.fail(LunError::Taken),
            Outcome::Sense { key: ILLEGAL_REQUEST, ascq: INVALID_OPERATION }
                if is_flush && !self.synchronize_10 =>
            {
                self.synchronize_10 = true;
                active.again.push(number);
            }
            Outcome::Sense { key: UNIT_ATTENTION, ascq } if active.attentions < ATTENTIONS_MAX => {
                active.attentions += 1;
                match ascq >> 8 {
                    // It was reset, or its capacity changed: what holds from here on is found out by a login.
                    0x29 => lost = Some("the target was reset"),
                    0x2a if ascq == CAPACITY_CHANGED => lost = Some("the size of the LUN changed"),
                    _ => active.again.push(number),
                }
            }
            Outcome::Sense { key, ascq } => active.fail(LunError::Sense { key, ascq }),
            Outcome::Lost => lost = Some("a command was ended by the target"),
        }
        if let Some(why) = lost {
            active.again.push(number);
            self.lose(why);
        }
    }

    /// Tells what is over and done with.
    fn finish(&mut self) {
        let over: Vec<u32> =
            self.active.iter().filter(|(_, active)| active.is_over()).map(|(id, _)| *id).collect();
        for id in over {
            let Some(mut active) = self.active.remove(&id) else { continue };
            self.failed = None;
            let result = active.failure.take().map_or(Ok(Reply::Done), Err);
            let writes = active.transfer().direction == Way::Write;
            match active.flushing.filter(|_| result.is_ok()) {
                Some(covered) => self.flushed = self.flushed.max(covered),
                // Of one that failed, some may have been accepted.
                None => self.written += u64::from(writes),
            }
            self.settling.push((active, result));
        }
        // Without writes there is nothing that could still be queued, but the test costs nothing.
        if !self.settling.is_empty() && self.session.as_mut().is_none_or(Session::is_drained) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        for (active, result) in self.settling.drain(..) {
            active.job.end(result);
        }
    }

    /// Gives the session up.
    pub(crate) fn lose(&mut self, why: &str) {
        if self.session.take().is_none() {
            return;
        }
        tracing::debug!(address = %self.options.address, why, "the connection to a LUN is lost");
        // Nobody looks at any memory of theirs any more.
        self.settle();
        self.cache_lost |= self.written > self.flushed;
        let portal = crate::lun::portal(&self.options.address);
        for active in self.active.values_mut() {
            active.restart();
            if active.losses > LOSSES_MAX {
                active.fail(LunError::Away { portal: portal.clone(), why: why.to_owned() });
            } else if self.cache_lost && active.transfer().direction == Way::Write {
                active.fail(LunError::CacheLost);
            }
        }
        self.end_failed();
    }

    fn end_failed(&mut self) {
        let failed: Vec<u32> =
            self.active.iter().filter(|(_, active)| active.failure.is_some()).map(|(id, _)| *id).collect();
        for id in failed {
            if let Some(active) = self.active.remove(&id) {
                let failure = active.failure.clone().unwrap_or(LunError::Closed);
                active.job.end(Err(failure));
            }
        }
    }

    /// Connects again, for as long as that is tried; without success all jobs fail.
    fn reconnect(&mut self) {
        if let Err(error) = self.connect_until(Instant::now() + self.options.reconnect_max) {
            self.failed = Some((error.clone(), Instant::now()));
            for active in self.active.values_mut() {
                active.fail(error.clone());
            }
            self.end_failed();
        }
    }
}

impl Active {
    /// The first reason counts.
    fn fail(&mut self, why: LunError) {
        self.failure.get_or_insert(why);
    }
}

/// Times that a target may be busy in a row.
const BUSY_MAX: u32 = 500;
const ILLEGAL_REQUEST: u8 = 5;
const UNIT_ATTENTION: u8 = 6;
const INVALID_OPERATION: u16 = 0x2000;
const CAPACITY_CHANGED: u16 = 0x2a09;

fn flush_request(ten: bool) -> Request {
    let cdb = if ten { Cdb::synchronize_10() } else { Cdb::synchronize_16() };
    Request { cdb, direction: Direction::None, pieces: Box::default() }
}
