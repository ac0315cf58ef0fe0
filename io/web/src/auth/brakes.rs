//! How often somebody may try: a password or a code counts as guessed wrong until it turns out right.

use std::time::Duration;

use axum::http::StatusCode;
use keepwatch_model::MonoTime;
use std::sync::{Arc, PoisonError};

use super::backoff::{Backoff, Policy};
use super::users::Checked;
use super::{Auth, PASSWORD_BYTES_MAX, blocking};
use crate::{Peer, Problem};

/// Logins that may wait for their check; more are turned away, so that a flood costs bounded memory.
pub(super) const LOGINS_WAITING_MAX: usize = 32;

/// Longest user name in bytes.
pub(super) const USER_BYTES_MAX: usize = 64;

/// Failed attempts by address and by account.
pub(super) struct Brakes {
    addresses: Backoff,
    accounts: Backoff,
}

impl Default for Brakes {
    fn default() -> Self {
        Self { addresses: Backoff::new(Policy::ADDRESS), accounts: Backoff::new(Policy::ACCOUNT) }
    }
}

/// An attempt that was let through and counts as failed until it is [forgiven](Self::forgive).
pub(super) struct Attempt {
    auth: Auth,
    address: String,
    account: String,
}

impl Attempt {
    /// Takes the failure back: it succeeded after all.
    pub(super) fn forgive(self) {
        self.auth.brake(|brakes, now| {
            brakes.addresses.forgive_one(&self.address, now);
            brakes.accounts.forget(&self.account);
        });
    }
}

impl Auth {
    /// Lets an attempt at `account` from `peer` through, or says how long to wait.
    pub(super) fn attempt(&self, peer: &Peer, account: &str) -> Result<Attempt, Problem> {
        let address = peer.brake_key();
        // The attempt counts from here, not from its end: parallel guesses would all start before the first ends.
        let wait = self.brake(|brakes, now| {
            let wait = brakes.addresses.wait(&address, now).max(brakes.accounts.wait(account, now));
            if wait == Duration::ZERO {
                brakes.addresses.failed(&address, now);
                brakes.accounts.failed(account, now);
            }
            wait
        });
        if wait > Duration::ZERO {
            let seconds = wait.as_secs().saturating_add(1);
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "login_delayed",
                "Too many failed logins",
                format!("after several failed logins the next is possible in {seconds} s"),
            )
            .retry_after(wait));
        }
        Ok(Attempt { auth: self.clone(), address, account: account.to_owned() })
    }

    /// Checks whether `password` is that of `user`: slowed down after failures, and few at a time. `None` when it is
    /// not.
    pub(super) async fn check_password(
        &self,
        peer: &Peer,
        user: &str,
        password: String,
    ) -> Result<Option<Checked>, Problem> {
        if user.len() > USER_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
            let detail = format!(
                "a user name has at most {USER_BYTES_MAX} bytes, a password at most {PASSWORD_BYTES_MAX}"
            );
            return Err(Problem::bad_request("credentials_too_long", detail));
        }
        let Ok(place) = Arc::clone(&self.shared.waiting).try_acquire_owned() else { return Err(busy()) };
        let attempt = self.attempt(peer, user)?;
        let (shared, name) = (Arc::clone(&self.shared), user.to_owned());
        let check = move || {
            let _place = place;
            shared.users.check(&name, &password)
        };
        let checked = self.costly(check).await?;
        if checked.is_some() {
            attempt.forgive();
        }
        Ok(checked)
    }

    /// Runs what takes as much as the check of a password: few at a time.
    pub(super) async fn costly<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let checks = Arc::clone(&self.shared.checks);
        let check = checks.acquire_owned().await.expect("the semaphore is never closed");
        // The work goes on also when nobody waits for it any more, and counts until it is done.
        let work = move || {
            let _check = check;
            work()
        };
        blocking(work).await
    }

    fn brake<T>(&self, act: impl FnOnce(&mut Brakes, MonoTime) -> T) -> T {
        let now = self.shared.clock.now();
        act(&mut self.shared.brakes.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

#[cfg(test)]
impl Auth {
    /// Keeps all passwords from being checked until it is dropped.
    pub(crate) async fn hold_checks(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(super::CHECKS_MAX).unwrap();
        Arc::clone(&self.shared.checks).acquire_many_owned(all).await.unwrap()
    }

    /// Passwords that are being checked, or wait for it.
    pub(crate) fn passwords_under_way(&self) -> usize {
        LOGINS_WAITING_MAX - self.shared.waiting.available_permits()
    }
}

fn busy() -> Problem {
    Problem::unavailable("logins_busy", "too many logins at once; try again in a few seconds")
        .retry_after(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::CHECKS_MAX;
    use super::*;
    use crate::{Audit, AuthConfig, LoginRecord, LoginWatcher, SystemClock};

    struct Nobody;

    impl LoginWatcher for Nobody {
        fn login(&self, _: &LoginRecord) {}
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_counts_until_it_is_done() {
        let data = tempfile::tempdir().unwrap();
        let clock: Arc<SystemClock> = Arc::default();
        let (audit, _) = Audit::open(data.path(), Arc::clone(&clock) as _).unwrap();
        let config = AuthConfig {
            data: data.path().to_owned(),
            admin_password: None,
            watcher: Arc::new(Nobody),
            clock,
            audit,
        };
        let (auth, _) = Auth::open(config).unwrap();
        let (began, mut begun) = tokio::sync::mpsc::channel(CHECKS_MAX);
        let mut releases = Vec::new();
        for _ in 0..CHECKS_MAX {
            let (release, released) = mpsc::channel::<()>();
            let (worker, began) = (auth.clone(), began.clone());
            let waits = tokio::spawn(async move {
                let work = move || {
                    began.blocking_send(()).unwrap();
                    let _ = released.recv();
                };
                worker.costly(work).await
            });
            begun.recv().await.unwrap();
            waits.abort();
            assert!(waits.await.unwrap_err().is_cancelled());
            releases.push(release);
        }
        assert_eq!(auth.shared.checks.available_permits(), 0);
        drop(releases);
        let all = auth.hold_checks();
        let _all =
            tokio::time::timeout(Duration::from_secs(10), all).await.expect("all places are free again");
    }
}
