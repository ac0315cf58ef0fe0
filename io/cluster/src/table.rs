//! The rules: who has which role until when, and which entries there are. Time is passed in.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_model::{MonoTime, RoleId};

use crate::{
    AcquireError, Change, CommitError, Entry, KEY_BYTES_MAX, Lease, RenewError, TTL_MAX, TTL_MIN,
    VALUE_BYTES_MAX,
};

/// A role that somebody had or has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    /// That of the last holder.
    pub(crate) epoch: u64,
    /// Who has it; `None` when it was given back.
    pub(crate) held: Option<Held>,
}

/// A lease as its giver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) holder: RoleId,
    pub(crate) ttl: Duration,
    pub(crate) until: MonoTime,
}

/// All that is coordinated.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) roles: BTreeMap<RoleId, Role>,
    pub(crate) entries: BTreeMap<String, Entry>,
    pub(crate) revision: u64,
}

impl Table {
    /// The role after `holder` has asked for it, and the lease; it is not changed before [`put`](Self::put).
    pub(crate) fn acquire(
        &self,
        now: MonoTime,
        role: RoleId,
        holder: RoleId,
        ttl: Duration,
    ) -> Result<(Role, Lease), AcquireError> {
        let ttl = ttl.clamp(TTL_MIN, TTL_MAX);
        let known = self.roles.get(&role);
        let running = known.and_then(|known| known.held).filter(|held| now < held.until);
        let last = known.map_or(0, |known| known.epoch);
        let epoch = match running {
            Some(held) if held.holder != holder => {
                return Err(AcquireError::Held { holder: held.holder, epoch: last });
            }
            Some(_) => last,
            None => last.saturating_add(1),
        };
        let held = Some(Held { holder, ttl, until: now + ttl });
        Ok((Role { epoch, held }, Lease { role, holder, epoch, ttl }))
    }

    /// The role after its lease was renewed. One that is over does not come back, even if nobody else has the role: its
    /// holder may have been told so already.
    pub(crate) fn renew(&self, now: MonoTime, lease: &Lease) -> Result<Role, RenewError> {
        let (epoch, held) = self.running(now, lease).ok_or(RenewError::Lost)?;
        Ok(Role { epoch, held: Some(Held { until: now + held.ttl, ..held }) })
    }

    /// The role after its lease was given back; `None` when it is over already.
    pub(crate) fn release(&self, now: MonoTime, lease: &Lease) -> Option<Role> {
        self.running(now, lease).map(|(epoch, _)| Role { epoch, held: None })
    }

    fn running(&self, now: MonoTime, lease: &Lease) -> Option<(u64, Held)> {
        let role = self.roles.get(&lease.role)?;
        let held = role.held?;
        (role.epoch == lease.epoch && held.holder == lease.holder && now < held.until)
            .then_some((role.epoch, held))
    }

    /// Takes a role up as it is by now.
    pub(crate) fn put(&mut self, role: RoleId, is: Role) {
        self.roles.insert(role, is);
    }

    /// Whether a change may be made.
    pub(crate) fn allows(&self, change: &Change) -> Result<(), CommitError> {
        for (role, epoch) in &change.fence {
            let last = self.roles.get(role).map_or(0, |known| known.epoch);
            if last != *epoch {
                return Err(CommitError::Fenced { role: *role, epoch: last });
            }
        }
        for (key, revision) in &change.expect {
            if self.entries.get(key).map(|entry| entry.revision) != *revision {
                return Err(CommitError::Conflict { key: key.clone() });
            }
        }
        for (key, value) in &change.put {
            let value_bytes = value.as_ref().map_or(0, Vec::len);
            if key.len() > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
                return Err(CommitError::TooLong { key: key.chars().take(64).collect() });
            }
        }
        Ok(())
    }

    /// Makes a change that is allowed.
    pub(crate) fn apply(&mut self, change: Change) -> u64 {
        self.revision += 1;
        for (key, value) in change.put {
            match value {
                Some(value) => {
                    self.entries.insert(key, Entry { revision: self.revision, value });
                }
                None => {
                    self.entries.remove(&key);
                }
            }
        }
        self.revision
    }
}
