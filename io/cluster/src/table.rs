//! The rules: who has which role until when. Time is passed in.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_model::{MonoTime, RoleId};

use crate::{AcquireError, Lease, ROLES_MAX, RenewError, TTL_MAX, TTL_MIN, Unavailable};

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
        if known.is_none() && self.roles.len() >= ROLES_MAX {
            return Err(Unavailable(format!("it knows {ROLES_MAX} roles, which is all it can")).into());
        }
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
}
