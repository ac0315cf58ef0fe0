//! A LUN as callers see it: blocks that are read, written and flushed by any thread.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};

use crate::job::{Job, Reply, Transfer, Way, Work, cut_read, cut_writes};
use crate::options::{Options, Owner, Preempt, Reserved, Write};
use crate::worker::{Facts, Worker};
use crate::{Address, LunError};

/// A LUN in use. All calls wait, each at most for as long as the [`Options`] bound; any thread may call.
///
/// # Durability
/// What a write returned for is accepted, what a flush returned for is durable: the flush is SYNCHRONIZE CACHE, and nothing is
/// taken for durable before it.
#[derive(Debug)]
pub struct Lun {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    facts: Facts,
}

/// What callers and the thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    pub(crate) wake: OwnedFd,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: Vec<Job>,
    stopping: bool,
    /// The thread takes nothing any more.
    ended: bool,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was left to do since the last call, and whether the end is near.
    pub(crate) fn take(&self) -> (Vec<Job>, bool) {
        // Only a wake-up is lost when it cannot be read, and there was none then.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        let mut queue = self.queue();
        (std::mem::take(&mut queue.jobs), queue.stopping)
    }

    /// Whether the LUN is being closed.
    pub(crate) fn stopping(&self) -> bool {
        self.queue().stopping
    }

    /// Nothing is taken any more, and what waits has ended.
    pub(crate) fn end(&self) {
        let jobs = {
            let mut queue = self.queue();
            queue.ended = true;
            std::mem::take(&mut queue.jobs)
        };
        drop(jobs);
    }

    fn wake(&self) {
        // It fails only when it would overflow, and then the thread is awake.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn run(&self, work: Work) -> Result<Reply, LunError> {
        let (job, ending) = Job::new(work);
        {
            let mut queue = self.queue();
            if queue.ended || queue.stopping {
                return Err(LunError::Closed);
            }
            queue.jobs.push(job);
        }
        self.wake();
        ending.wait()
    }
}

impl Lun {
    /// Connects, logs in, and looks whether there is a disk.
    ///
    /// # Errors
    /// When it cannot be reached in time, refuses the login, or is no disk of a size that can be.
    pub fn open(options: Options) -> Result<Self, LunError> {
        if options.address.user.is_some() != options.password.is_some() {
            return Err(LunError::Login);
        }
        let why = |why: String| LunError::Unfit(why);
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| why(format!("no descriptor: {error}")))?;
        let shared = Arc::new(Shared { queue: Mutex::default(), wake });
        let worker = Worker::new(options, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("iscsi".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| why(format!("no thread: {error}")))?;
        let mut lun = Self { shared, thread: Some(thread), facts: Facts::default() };
        match lun.shared.run(Work::Open)? {
            Reply::Opened(facts) => lun.facts = facts,
            Reply::Done | Reply::Reserved(_) => return Err(LunError::Closed),
        }
        Ok(lun)
    }

    /// Its size in bytes.
    pub const fn size_bytes(&self) -> u64 {
        self.facts.size_bytes
    }

    /// Bytes of a block: a power of two from 512 to 4096.
    pub const fn block_bytes(&self) -> u32 {
        self.facts.block_bytes
    }

    /// Fills `buffer`, of whole blocks, from `offset_bytes` on.
    ///
    /// # Errors
    /// When the target refuses, or cannot be reached for too long.
    pub fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> Result<(), LunError> {
        let commands = cut_read(offset_bytes, buffer, &self.facts)?;
        self.transfer(Transfer { commands, direction: Way::Read, flush: false })
    }

    /// Writes all of `writes`, in any order; they must not overlap.
    ///
    /// # Errors
    /// When the target refuses, or cannot be reached for too long. Some may be written then.
    pub fn write(&self, writes: &[Write<'_>]) -> Result<(), LunError> {
        let commands = cut_writes(writes, &self.facts)?;
        self.transfer(Transfer { commands, direction: Way::Write, flush: false })
    }

    /// Writes all of `writes`, and returns when all that was ever written is durable. A connection that is lost meanwhile costs
    /// nothing but time: everything is written again.
    ///
    /// # Errors
    /// As [`write`](Self::write) and [`flush`](Self::flush).
    pub fn write_durably(&self, writes: &[Write<'_>]) -> Result<(), LunError> {
        let commands = cut_writes(writes, &self.facts)?;
        self.transfer(Transfer { commands, direction: Way::Write, flush: true })
    }

    /// Returns when everything written before is durable.
    ///
    /// A target that was restarted may have lost what it had accepted and not flushed, and a new connection does not tell. So
    /// writes that were accepted over one connection are never flushed over the next: unless they are part of the same
    /// [`write_durably`](Self::write_durably), which writes them again, the flush is an error, and so is everything that is
    /// written behind it. Who opens the LUN anew finds out what it holds.
    ///
    /// # Errors
    /// [`LunError::CacheLost`], or when the target refuses or cannot be reached for too long.
    pub fn flush(&self) -> Result<(), LunError> {
        self.transfer(Transfer { commands: Vec::new(), direction: Way::Write, flush: true })
    }

    /// Keeps all other writers away, by a persistent reservation (SPC-4 §5.13) for as long as this LUN is open, over lost
    /// connections too. What an earlier run of the same `owner` left is taken over.
    ///
    /// # Errors
    /// [`LunError::Reserved`] when somebody else holds it and that may not be taken away.
    pub fn reserve(&self, owner: Owner, preempt: Preempt) -> Result<Reserved, LunError> {
        match self.shared.run(Work::Reserve(owner, preempt))? {
            Reply::Reserved(reserved) => Ok(reserved),
            Reply::Done | Reply::Opened(_) => Err(LunError::Closed),
        }
    }

    /// Gives the reservation up, if there is one.
    ///
    /// # Errors
    /// When the target cannot be reached; it keeps the reservation then, until its owner comes again.
    pub fn release(&self) -> Result<(), LunError> {
        self.shared.run(Work::Release).map(|_| ())
    }

    fn transfer(&self, transfer: Transfer) -> Result<(), LunError> {
        if transfer.commands.is_empty() && !transfer.flush {
            return Ok(());
        }
        self.shared.run(Work::Transfer(transfer)).map(|_| ())
    }
}

impl Drop for Lun {
    fn drop(&mut self) {
        self.shared.queue().stopping = true;
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its thread.
            let _ = thread.join();
        }
    }
}

/// The portal of an address, for errors.
pub(crate) fn portal(address: &Address) -> String {
    if address.host.contains(':') {
        format!("[{}]:{}", address.host, address.port)
    } else {
        format!("{}:{}", address.host, address.port)
    }
}
