//! One session of libiscsi: connected or gone. All that is unsafe about commands is here.
//!
//! libiscsi looks at a command's task, at its list of pieces and at the bytes they point to until the command is answered,
//! and, where a target answers before it has taken all data, for as long as data of it is queued. So a command is
//! kept until the queue was seen empty or the session is gone, and [`Session::is_drained`] tells when the memory of others
//! may go. Connections are not made anew by libiscsi: a session that is lost is dropped, and all of its commands with it.
#![expect(unsafe_code, reason = "calls libiscsi")]

use std::cell::Cell;
use std::ffi::{CStr, CString, c_int, c_void};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::ffi::{self, Piece};
use crate::options::Options;
use crate::scsi::Cdb;

/// Longest text of an error that is taken over.
const TEXT_BYTES_MAX: usize = 300;
/// Rounds in which what a target sent before it closed the connection is still read, while a session begins.
const LAST_WORDS_ROUNDS: u32 = 64;

/// A command to send.
pub(crate) struct Request {
    pub(crate) cdb: Cdb,
    pub(crate) direction: Direction,
    /// The memory that is read or written; whoever asks keeps it until [`Session::is_drained`] or the end of the session.
    pub(crate) pieces: Box<[Piece]>,
}

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    None,
    Read,
    Write,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, but for so many bytes.
    Good { short_bytes: u64 },
    /// Refused.
    Sense { key: u8, ascq: u16 },
    /// The target has no room for it at the moment.
    Busy,
    /// Somebody else has reserved the LUN.
    Conflict,
    /// The session is of no more use.
    Lost,
}

/// A command under way.
struct Command {
    token: u64,
    task: *mut ffi::Task,
    /// Looked at by libiscsi through its address, so never moved.
    _pieces: Box<[Piece]>,
    outcome: Cell<Option<Outcome>>,
    sent_at: Instant,
}

/// A session with a target, logged in.
pub(crate) struct Session {
    context: NonNull<ffi::Context>,
    lun: c_int,
    commands: Vec<NonNull<Command>>,
    /// Answered, and kept until nothing of theirs can be queued.
    answered: Vec<NonNull<Command>>,
    /// The status of connecting, once that is over.
    connected: NonNull<Cell<Option<c_int>>>,
}

// SAFETY: a context may be used by any thread, one at a time, and all pointers are owned by the session.
unsafe impl Send for Session {}

/// Notes that connecting is over.
extern "C" fn connected(_: *mut ffi::Context, status: c_int, _: *mut c_void, passed: *mut c_void) {
    // SAFETY: what is passed is the cell of the session, which lives until its context is destroyed.
    unsafe { &*passed.cast::<Cell<Option<c_int>>>() }.set(Some(status));
}

/// Notes how a command ended. Nothing in it can panic.
extern "C" fn answered(_: *mut ffi::Context, status: c_int, _: *mut c_void, passed: *mut c_void) {
    // SAFETY: what is passed is a command of the session, which keeps it until the context is destroyed or the command was
    // answered, which is told once.
    let command = unsafe { &*passed.cast::<Command>() };
    // SAFETY: the task is the command's own, made by libiscsi, and freed after this.
    let task = unsafe { &*command.task };
    let outcome = match status {
        ffi::STATUS_GOOD => {
            let short = if task.residual_status == 1 { task.residual } else { 0 };
            Outcome::Good { short_bytes: short as u64 }
        }
        ffi::STATUS_CHECK_CONDITION => Outcome::Sense {
            key: u8::try_from(task.sense_key & 0x0f).unwrap_or(0),
            ascq: u16::try_from(task.sense_ascq & 0xffff).unwrap_or(0),
        },
        ffi::STATUS_BUSY | ffi::STATUS_TASK_SET_FULL => Outcome::Busy,
        ffi::STATUS_RESERVATION_CONFLICT => Outcome::Conflict,
        _ => Outcome::Lost,
    };
    command.outcome.set(Some(outcome));
}

impl Session {
    /// Connects and logs in, until `deadline`. `isid` makes us the same initiator port as in the session before, so that the
    /// target ends what that one left (RFC 7143 §6.3.5). The error is for an operator.
    pub(crate) fn connect(
        options: &Options,
        isid: u64,
        portal: SocketAddr,
        deadline: Instant,
    ) -> Result<Self, String> {
        let text = |text: &str| CString::new(text).map_err(|_| "a name or password holds a NUL".to_owned());
        let initiator = text(&options.initiator)?;
        // SAFETY: the text ends in NUL and is copied.
        let context = unsafe { ffi::iscsi_create_context(initiator.as_ptr()) };
        let context = NonNull::new(context).ok_or("libiscsi has no memory")?;
        let connected_cell = NonNull::from(Box::leak(Box::new(Cell::new(None))));
        let mut session = Self {
            context,
            lun: c_int::from(options.address.lun),
            commands: Vec::new(),
            answered: Vec::new(),
            connected: connected_cell,
        };
        let target = text(&options.address.target)?;
        let random = u32::try_from(isid & 0x00ff_ffff).unwrap_or(0);
        let qualifier = u32::try_from(isid >> 24 & 0xffff).unwrap_or(0);
        let portal = text(&portal.to_string())?;
        let logins = match (&options.address.user, &options.password) {
            (Some(user), Some(password)) => Some((text(user)?, text(password.reveal())?)),
            _ => None,
        };
        let target_login = match &options.target_login {
            Some(login) => Some((text(&login.user)?, text(login.password.reveal())?)),
            None => None,
        };
        let raw = session.context.as_ptr();
        // SAFETY: the context is valid; all texts end in NUL, live through the calls and are copied.
        let begun = unsafe {
            ffi::iscsi_set_noautoreconnect(raw, 1);
            ffi::iscsi_set_isid_random(raw, random, qualifier);
            let mut failed = ffi::iscsi_set_targetname(raw, target.as_ptr()) != 0;
            failed |= ffi::iscsi_set_session_type(raw, ffi::SESSION_NORMAL) != 0;
            if let Some((user, password)) = &logins {
                failed |= ffi::iscsi_set_initiator_username_pwd(raw, user.as_ptr(), password.as_ptr()) != 0;
            }
            if let Some((user, password)) = &target_login {
                failed |= ffi::iscsi_set_target_username_pwd(raw, user.as_ptr(), password.as_ptr()) != 0;
            }
            !failed
                && ffi::iscsi_full_connect_async(
                    raw,
                    portal.as_ptr(),
                    session.lun,
                    connected,
                    connected_cell.as_ptr().cast(),
                ) == 0
        };
        if !begun {
            return Err(session.error());
        }
        session.log_in(deadline)?;
        Ok(session)
    }

    fn log_in(&mut self, deadline: Instant) -> Result<(), String> {
        let mut closed_rounds = 0;
        loop {
            // SAFETY: the cell lives as long as the session.
            match unsafe { self.connected.as_ref() }.get() {
                Some(ffi::STATUS_GOOD) => return Ok(()),
                Some(_) => return Err(self.error()),
                None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("it did not answer in time".to_owned());
            }
            let (ready, _) = self.wait(None, left)?;
            self.turn(ready)?;
            if ready.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR) {
                closed_rounds += 1;
                if closed_rounds > LAST_WORDS_ROUNDS {
                    return Err("it closed the connection".to_owned());
                }
            }
        }
    }

    /// Sends a command as soon as that is possible. False when the session takes none.
    pub(crate) fn submit(&mut self, token: u64, request: Request) -> bool {
        let Request { mut cdb, direction, mut pieces } = request;
        let bytes: usize = pieces.iter().map(|piece| piece.bytes).sum();
        let (Ok(expected), Ok(count)) = (c_int::try_from(bytes), c_int::try_from(pieces.len())) else {
            return false;
        };
        let way = match direction {
            Direction::None => ffi::TRANSFER_NONE,
            Direction::Read => ffi::TRANSFER_READ,
            Direction::Write => ffi::TRANSFER_WRITE,
        };
        // SAFETY: the block is copied; it is as long as is said.
        let task =
            unsafe { ffi::scsi_create_task(c_int::from(cdb.length), cdb.bytes.as_mut_ptr(), way, expected) };
        if task.is_null() {
            return false;
        }
        let list = pieces.as_mut_ptr();
        // SAFETY: the task is valid, and list and count belong together. The list is on the heap and kept in the command.
        unsafe {
            match direction {
                Direction::None => {}
                Direction::Read => ffi::scsi_task_set_iov_in(task, list, count),
                Direction::Write => ffi::scsi_task_set_iov_out(task, list, count),
            }
        }
        let command =
            Command { token, task, _pieces: pieces, outcome: Cell::new(None), sent_at: Instant::now() };
        let command = NonNull::from(Box::leak(Box::new(command)));
        // SAFETY: context and task are valid; the command lives until it is answered or the context is destroyed, the memory
        // of its pieces by the promise of `Request`.
        let sent = unsafe {
            ffi::iscsi_scsi_command_async(
                self.context.as_ptr(),
                self.lun,
                task,
                answered,
                ptr::null_mut(),
                command.as_ptr().cast(),
            )
        } == 0;
        if sent {
            self.commands.push(command);
        } else {
            // SAFETY: libiscsi did not take it, so that nobody else knows it.
            unsafe { free(command) };
        }
        sent
    }

    /// Commands that are not answered.
    pub(crate) const fn under_way(&self) -> usize {
        self.commands.len()
    }

    /// How long the oldest command under way has waited for its answer.
    pub(crate) fn longest_unanswered(&self) -> Option<Duration> {
        // They stand in the order in which they were sent.
        // SAFETY: a command is kept until it is freed with the session, or after it was answered.
        self.commands.first().map(|command| unsafe { command.as_ref().sent_at }.elapsed())
    }

    /// Waits at most `longest` for the connection or for `wake`, and tells what of the connection is ready and whether it
    /// was woken.
    pub(crate) fn wait(
        &self,
        wake: Option<&OwnedFd>,
        longest: Duration,
    ) -> Result<(PollFlags, bool), String> {
        // SAFETY: the context is valid.
        let (descriptor, events) = unsafe {
            let raw = self.context.as_ptr();
            (ffi::iscsi_get_fd(raw), ffi::iscsi_which_events(raw))
        };
        if descriptor < 0 {
            return Err("the connection is closed".to_owned());
        }
        let events = PollFlags::from_bits_truncate(u16::try_from(events).unwrap_or(0)) | PollFlags::RDHUP;
        // SAFETY: the descriptor is open until the session is serviced again.
        let connection = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let mut waited = vec![PollFd::from_borrowed_fd(connection, events)];
        waited.extend(wake.map(|wake| PollFd::new(wake, PollFlags::IN)));
        let timeout = Timespec::try_from(longest).ok();
        match poll(&mut waited, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
        let woken = waited.get(1).is_some_and(|wake| !wake.revents().is_empty());
        Ok((waited[0].revents(), woken))
    }

    /// Reads and writes what is ready; commands may be answered by it. The error ends the session.
    pub(crate) fn service(&mut self, ready: PollFlags) -> Result<(), String> {
        self.turn(ready)?;
        if ready.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR) {
            return Err("the target closed the connection".to_owned());
        }
        Ok(())
    }

    fn turn(&mut self, ready: PollFlags) -> Result<(), String> {
        let known = ready & (PollFlags::IN | PollFlags::OUT | PollFlags::ERR | PollFlags::HUP);
        // SAFETY: the context is valid, and no callback destroys it.
        let result = unsafe { ffi::iscsi_service(self.context.as_ptr(), c_int::from(known.bits())) };
        if result < 0 { Err(self.error()) } else { Ok(()) }
    }

    /// Commands that were answered since the last call, and how they ended.
    pub(crate) fn answers(&mut self) -> Vec<(u64, Outcome)> {
        let mut ended = Vec::new();
        let commands = std::mem::take(&mut self.commands);
        for command in commands {
            // SAFETY: it is kept until it is freed below or with the session.
            let (token, outcome) = unsafe { (command.as_ref().token, command.as_ref().outcome.get()) };
            match outcome {
                Some(outcome) => {
                    ended.push((token, outcome));
                    self.answered.push(command);
                }
                None => self.commands.push(command),
            }
        }
        ended
    }

    /// Whether nothing is queued for the target; then nothing looks at the memory of commands that were answered.
    pub(crate) fn is_drained(&mut self) -> bool {
        // SAFETY: the context is valid.
        let drained = unsafe {
            let raw = self.context.as_ptr();
            let out = c_int::from(PollFlags::OUT.bits());
            ffi::iscsi_out_queue_length(raw) == 0 && ffi::iscsi_which_events(raw) & out == 0
        };
        if drained {
            for command in self.answered.drain(..) {
                // SAFETY: it was answered, and nothing of it is queued.
                unsafe { free(command) };
            }
        }
        drained
    }

    /// What libiscsi says went wrong last.
    fn error(&self) -> String {
        // SAFETY: the context is valid; the text ends in NUL and is copied before anything else is called.
        let text = unsafe {
            let text = ffi::iscsi_get_error(self.context.as_ptr());
            if text.is_null() {
                return "libiscsi does not say why".to_owned();
            }
            CStr::from_ptr(text).to_string_lossy().into_owned()
        };
        // A target has a hand in it.
        let shown: String = text.chars().filter(|letter| !letter.is_control()).take(TEXT_BYTES_MAX).collect();
        if shown.is_empty() { "libiscsi does not say why".to_owned() } else { shown }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the context is valid and not used again. Commands that are not answered are told so by it, which is why
        // they and the cell are freed after it.
        unsafe {
            ffi::iscsi_destroy_context(self.context.as_ptr());
            for command in self.commands.drain(..).chain(self.answered.drain(..)) {
                free(command);
            }
            drop(Box::from_raw(self.connected.as_ptr()));
        }
    }
}

/// Frees a command and its task.
///
/// # Safety
/// Nobody uses it after this, libiscsi included.
unsafe fn free(command: NonNull<Command>) {
    // SAFETY: it was made by `submit` from a box, and its task by libiscsi; the caller answers for the rest.
    unsafe {
        let command = Box::from_raw(command.as_ptr());
        ffi::scsi_free_scsi_task(command.task);
    }
}
