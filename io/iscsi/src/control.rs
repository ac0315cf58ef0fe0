//! What happens one step at a time: connecting, looking what is there, reserving.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use crate::LunError;
use crate::ffi::Piece;
use crate::job::{Job, Reply, Work};
use crate::lun::portal;
use crate::options::{Owner, Preempt, Reserved};
use crate::reservation::{key, same_owner};
use crate::scsi::{Capacity, Cdb, ReserveOut, capacity, holder, is_disk, parameters, transfer_bytes};
use crate::session::{Direction, Outcome, Request, Session};
use crate::worker::{Facts, Holding, Worker};

/// Pauses between two attempts to connect: short at first, for a target that just restarts.
const PAUSES_MS: [u64; 4] = [100, 250, 500, 1000];
/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;
/// Rounds in which a reservation is asked for while others come and go.
const ROUNDS_MAX: u32 = 8;
/// Times that a command is asked again after a unit attention.
const ATTENTIONS_MAX: u32 = 8;

impl Worker {
    /// Does what is done when nothing else is under way.
    pub(crate) fn control(&mut self, job: Job) {
        let result = match job.work {
            Work::Open => self.connected().map(|()| Reply::Opened(self.facts.unwrap_or_default())),
            Work::Reserve(owner, preempt) => {
                self.connected().and_then(|()| self.reserve(owner, preempt, None)).map(Reply::Reserved)
            }
            Work::Release => self.release().map(|()| Reply::Done),
            Work::Transfer(_) => Err(LunError::Closed),
        };
        job.end(result);
    }

    /// Makes sure that there is a connection, in one attempt: who asks, asks again.
    fn connected(&mut self) -> Result<(), LunError> {
        if self.session.is_some() {
            return Ok(());
        }
        let connected = self.connect(Instant::now() + self.options.connect_max);
        if connected.is_err() {
            self.session = None;
        }
        connected
    }

    /// Connects, with pauses between the attempts, until it is `deadline`. What will not change by itself is not tried again.
    pub(crate) fn connect_until(&mut self, deadline: Instant) -> Result<(), LunError> {
        let mut pauses = PAUSES_MS.iter().copied().map(Duration::from_millis);
        let mut pause = Duration::from_secs(1);
        loop {
            let until = deadline.min(Instant::now() + self.options.connect_max);
            let error = match self.connect(until) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            self.session = None;
            if matches!(error, LunError::Resized { .. } | LunError::Taken) {
                self.dead = Some(error.clone());
            }
            // These are the same tomorrow.
            let final_word =
                matches!(error, LunError::Unfit(_) | LunError::Denied { .. }) || self.dead.is_some();
            pause = pauses.next().unwrap_or(pause);
            if final_word || Instant::now() + pause >= deadline || self.shared.stopping() {
                return Err(error);
            }
            std::thread::sleep(pause);
        }
    }

    fn connect(&mut self, deadline: Instant) -> Result<(), LunError> {
        let portal = portal(&self.options.address);
        let away = |why: String| LunError::Away { portal: portal.clone(), why };
        let host = (self.options.address.host.as_str(), self.options.address.port);
        let addresses: Vec<SocketAddr> =
            host.to_socket_addrs().map_err(|error| away(error.to_string()))?.take(ADDRESSES_MAX).collect();
        let mut last = away("its name has no address".to_owned());
        for address in addresses {
            match Session::connect(&self.options, self.isid, address, deadline) {
                Ok(session) => {
                    self.session = Some(session);
                    return self.look(deadline);
                }
                Err(why) if is_denial(&why) => return Err(LunError::Denied { portal, why }),
                Err(why) => last = away(why),
            }
        }
        Err(last)
    }

    /// Looks what is there, and whether it is as it was.
    fn look(&mut self, deadline: Instant) -> Result<(), LunError> {
        let mut standard = [0; 36];
        self.ask(Cdb::inquiry(None, 36), &mut standard, deadline)?;
        if !is_disk(&standard) {
            let lun = self.options.address.lun;
            return Err(LunError::Unfit(format!("the target has no disk as its LUN {lun}")));
        }
        let mut answer = [0; 32];
        self.ask(Cdb::read_capacity(), &mut answer, deadline)?;
        let Capacity { size_bytes, block_bytes } = capacity(&answer).map_err(LunError::Unfit)?;
        let mut limits = [0; 64];
        // A target that has no such page has no such limits.
        match self.ask(Cdb::inquiry(Some(0xb0), 64), &mut limits, deadline) {
            Ok(()) => {}
            Err(LunError::Sense { .. }) => limits = [0; 64],
            Err(error) => return Err(error),
        }
        let facts = Facts { size_bytes, block_bytes, transfer_bytes: transfer_bytes(&limits, block_bytes) };
        match self.facts {
            Some(before) if facts.size_bytes < before.size_bytes || block_bytes != before.block_bytes => {
                return Err(LunError::Resized {
                    before_bytes: before.size_bytes,
                    now_bytes: facts.size_bytes,
                });
            }
            // Commands were cut as it was.
            Some(_) => {}
            None => self.facts = Some(facts),
        }
        if let Some(Holding { owner, key }) = self.holding {
            match self.reserve(owner, Preempt::OnlyOwn, Some(key)) {
                Ok(Reserved::Held) => {}
                Ok(Reserved::NotSupported) | Err(LunError::Reserved { .. }) => return Err(LunError::Taken),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Registers under a key of its own and reserves. `before` is the only key that may be preempted on a connection that was
    /// made anew: another registration of the same owner is then a later run of it.
    fn reserve(&mut self, owner: Owner, preempt: Preempt, before: Option<u64>) -> Result<Reserved, LunError> {
        let deadline = Instant::now() + self.options.connect_max;
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(|error| LunError::Unfit(format!("no random bytes: {error}")))?;
        let own = key(owner, u16::from_ne_bytes(random));
        match self.tell(ReserveOut::RegisterAndIgnore, 0, own, deadline) {
            Ok(()) => {}
            Err(LunError::Sense { key: 5, .. }) => return Ok(Reserved::NotSupported),
            Err(error) => return Err(error),
        }
        for _ in 0..ROUNDS_MAX {
            let mut answer = [0; 24];
            self.ask(Cdb::read_reservation(24), &mut answer, deadline)?;
            let outcome = match holder(&answer) {
                Some(held) if held == own => {
                    self.holding = Some(Holding { owner, key: own });
                    return Ok(Reserved::Held);
                }
                None => self.tell(ReserveOut::Reserve, own, 0, deadline),
                Some(held) => {
                    let ours = before.map_or(same_owner(held, own), |before| held == before);
                    if !ours && preempt == Preempt::OnlyOwn {
                        // The registration goes with the session where this is refused.
                        let _ = self.tell(ReserveOut::Register, own, 0, deadline);
                        return Err(LunError::Reserved { key: held });
                    }
                    match self.tell(ReserveOut::PreemptAndAbort, own, held, deadline) {
                        Err(LunError::Sense { key: 5, .. }) => {
                            self.tell(ReserveOut::Preempt, own, held, deadline)
                        }
                        outcome => outcome,
                    }
                }
            };
            match outcome {
                // Another was quicker: look who.
                Ok(()) | Err(LunError::Taken) => {}
                Err(error) => return Err(error),
            }
        }
        Err(LunError::Taken)
    }

    fn release(&mut self) -> Result<(), LunError> {
        let Some(Holding { key, .. }) = self.holding.take() else { return Ok(()) };
        let deadline = Instant::now() + self.options.connect_max;
        if self.session.is_none() {
            return Ok(()); // It is taken over by the next run.
        }
        self.tell(ReserveOut::Release, key, 0, deadline)?;
        self.tell(ReserveOut::Register, key, 0, deadline)
    }

    fn tell(&mut self, action: ReserveOut, own: u64, other: u64, deadline: Instant) -> Result<(), LunError> {
        let mut bytes = parameters(own, other);
        self.exchange(Cdb::reserve_out(action), Direction::Write, &mut bytes, deadline)
    }

    fn ask(&mut self, cdb: Cdb, answer: &mut [u8], deadline: Instant) -> Result<(), LunError> {
        self.exchange(cdb, Direction::Read, answer, deadline)
    }

    /// Sends one command and waits for its answer. A session that does not answer is given up, so that nothing looks at `bytes`
    /// afterwards.
    fn exchange(
        &mut self,
        cdb: Cdb,
        direction: Direction,
        bytes: &mut [u8],
        deadline: Instant,
    ) -> Result<(), LunError> {
        let portal = portal(&self.options.address);
        let away = |why: &str| LunError::Away { portal: portal.clone(), why: why.to_owned() };
        for _ in 0..ATTENTIONS_MAX {
            let outcome = self.exchange_once(cdb, direction, bytes, deadline);
            match outcome {
                // Less than there is room for is an answer.
                Ok(Outcome::Good { .. }) => return Ok(()),
                Ok(Outcome::Sense { key: 6, .. } | Outcome::Busy) => {}
                Ok(Outcome::Sense { key, ascq }) => return Err(LunError::Sense { key, ascq }),
                Ok(Outcome::Conflict) => return Err(LunError::Taken),
                Ok(Outcome::Lost) => {
                    self.lose("a command was ended by the target");
                    return Err(away("the target ended a command"));
                }
                Err(why) => {
                    self.lose(&why);
                    return Err(away(&why));
                }
            }
        }
        Err(away("the target goes on to report something else"))
    }

    fn exchange_once(
        &mut self,
        cdb: Cdb,
        direction: Direction,
        bytes: &mut [u8],
        deadline: Instant,
    ) -> Result<Outcome, String> {
        let session = self.session.as_mut().ok_or("there is no connection")?;
        let piece = Piece { base: bytes.as_mut_ptr().cast(), bytes: bytes.len() };
        if !session.submit(0, Request { cdb, direction, pieces: vec![piece].into_boxed_slice() }) {
            return Err("the session takes no commands".to_owned());
        }
        let mut ended = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("it did not answer in time".to_owned());
            }
            let (ready, _) = session.wait(None, left)?;
            let serviced = session.service(ready);
            ended = ended.or_else(|| session.answers().pop().map(|(_, outcome)| outcome));
            if let Some(outcome) = ended
                && session.is_drained()
            {
                return Ok(outcome);
            }
            serviced?;
        }
    }
}

/// Whether the target does not want us (RFC 7143 §11.13.5, class 2), which will not change by asking again.
fn is_denial(why: &str) -> bool {
    ["uthentication", "uthorization"].iter().any(|word| why.contains(word))
}
