//! Coordination that is not there: nobody can be asked, and the reason is always the same. What needs no answer goes on.

use std::time::Duration;

use keepwatch_model::RoleId;

use crate::{AcquireError, Answer, Coord, Lease, RenewError, Unavailable};

/// Answers nothing, and says why.
#[derive(Clone, Debug)]
pub struct Absent {
    why: String,
}

impl Absent {
    /// Is not there because of `why`.
    pub const fn new(why: String) -> Self {
        Self { why }
    }

    fn unavailable(&self) -> Unavailable {
        Unavailable(self.why.clone())
    }
}

impl Coord for Absent {
    fn acquire(&self, _: RoleId, _: RoleId, _: Duration) -> Answer<'_, Result<Lease, AcquireError>> {
        Box::pin(async { Err(self.unavailable().into()) })
    }

    fn renew(&self, _: Lease) -> Answer<'_, Result<(), RenewError>> {
        Box::pin(async { Err(self.unavailable().into()) })
    }

    fn release(&self, _: Lease) -> Answer<'_, Result<(), Unavailable>> {
        Box::pin(async { Err(self.unavailable()) })
    }
}
