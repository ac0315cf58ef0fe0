//! Coordination within one process, which forgets when that ends.

use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keepwatch_model::{MonoTime, RoleId};

use crate::table::Table;
use crate::{AcquireError, Answer, Coord, Lease, RenewError, Unavailable};

/// A clock that nobody sets.
pub type Clock = Arc<dyn Fn() -> MonoTime + Send + Sync>;

/// The clock of this process.
pub(crate) fn clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || MonoTime::ZERO + start.elapsed())
}

/// Coordination within one process; a cheap handle.
#[derive(Clone)]
pub struct Memory {
    table: Arc<Mutex<Table>>,
    clock: Clock,
}

impl Memory {
    /// Nobody has any role.
    #[expect(clippy::new_without_default, reason = "two are not equal: they do not coordinate each other")]
    pub fn new() -> Self {
        Self::with_clock(clock())
    }

    /// The same with another clock: that of a simulation.
    pub fn with_clock(clock: Clock) -> Self {
        Self { table: Arc::default(), clock }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that holds it can fail half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("table", &*self.table()).finish_non_exhaustive()
    }
}

impl Coord for Memory {
    fn acquire(
        &self,
        role: RoleId,
        holder: RoleId,
        ttl: Duration,
    ) -> Answer<'_, Result<Lease, AcquireError>> {
        let mut table = self.table();
        let acquired = table.acquire((self.clock)(), role, holder, ttl);
        let acquired = acquired.map(|(is, lease)| {
            table.put(role, is);
            lease
        });
        Box::pin(ready(acquired))
    }

    fn renew(&self, lease: Lease) -> Answer<'_, Result<(), RenewError>> {
        let mut table = self.table();
        let renewed = table.renew((self.clock)(), &lease).map(|is| table.put(lease.role, is));
        Box::pin(ready(renewed))
    }

    fn release(&self, lease: Lease) -> Answer<'_, Result<(), Unavailable>> {
        let mut table = self.table();
        if let Some(is) = table.release((self.clock)(), &lease) {
            table.put(lease.role, is);
        }
        Box::pin(ready(Ok(())))
    }
}
