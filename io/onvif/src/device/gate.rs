//! Who asks: HTTP digest (RFC 7616, MD5 and SHA-256) and WS-UsernameToken, either of which is enough.
//!
//! Numbers of the server are not stored when they are given out, as anybody may ask for any number of them: each
//! carries its time and a hash that only this device can make. What was used by somebody who knows the password is
//! remembered, so that nothing that was overheard can be sent again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keepwatch_media::auth::{Authorization, challenges};
use keepwatch_model::WallTime;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::security::{Nonces, TokenError, UsernameToken};

use super::backend::{Access, UserLevel};

/// The realm of digests.
pub(crate) const REALM: &str = "onvif";

/// For how long a number of the server is good.
const NONCE_LIFE: Duration = Duration::from_secs(300);

/// Numbers in use that are remembered: one for each connection of every client, and more.
const USED_MAX: usize = 1024;

/// How far the clock of a client may be away. Devices allow from 10 s to 5 min; a client that reads the clock first
/// needs what a call takes.
const TOKEN_WINDOW: Duration = Duration::from_secs(60);

/// A login in a request.
#[derive(Clone, Copy)]
pub(crate) struct Login<'a> {
    /// The method of the request.
    pub(crate) method: &'a str,
    /// The path and query of the request.
    pub(crate) target: &'a str,
    /// The header `Authorization`.
    pub(crate) authorization: Option<&'a str>,
    /// What stands in the SOAP header.
    pub(crate) token: Option<&'a Result<UsernameToken, TokenError>>,
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    /// For people; it does not say whether there is such a user.
    pub(crate) reason: String,
    /// The password was right, but the number of the server is too old or was used.
    pub(crate) stale: bool,
}

/// Keeper of the gate.
pub(crate) struct Gate {
    secret: [u8; 32],
    start: Instant,
    nonces: Mutex<Nonces>,
    used: Mutex<Used>,
}

/// The numbers of the server that were used by somebody who knows the password.
#[derive(Default)]
struct Used {
    by_nonce: BTreeMap<String, Uses>,
    /// Numbers given out up to this time are good no more: some of them were forgotten.
    floor: Option<Duration>,
}

/// How a number of the server was used.
#[derive(Clone, Copy)]
struct Uses {
    issued: Duration,
    /// The highest count.
    highest: u32,
    /// Which counts were used: bit `n` is that of `highest - n`. Requests on several connections overtake each other.
    recent: u64,
}

impl Gate {
    /// A gate whose numbers nobody can make who does not know `secret`.
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            start: Instant::now(),
            nonces: Mutex::new(Nonces::new()),
            used: Mutex::new(Used::default()),
        }
    }

    /// What the user may do; `None` when nobody needs a login.
    pub(crate) fn admit(
        &self,
        access: &Access,
        login: Login<'_>,
        now: WallTime,
    ) -> Result<Option<UserLevel>, Denied> {
        let Access::Users(_) = access else { return Ok(None) };
        let denied = |reason: &str| Denied { reason: reason.to_owned(), stale: false };
        let by_digest = login.authorization.map(|header| self.digest(access, login, header));
        if let Some(Ok(level)) = by_digest {
            return Ok(Some(level));
        }
        let by_token = login.token.map(|token| self.token(access, token, now));
        match (by_token, by_digest) {
            (Some(Ok(level)), _) => Ok(Some(level)),
            // A client that sends both may have been refused for the clock and be right otherwise.
            (_, Some(Err(refused))) if refused.stale => Err(refused),
            (Some(Err(reason)), _) => Err(denied(&reason.to_string())),
            (None, Some(Err(refused))) => Err(refused),
            (None, Some(Ok(_)) | None) => Err(denied("this needs a login")),
        }
    }

    fn token(
        &self,
        access: &Access,
        token: &Result<UsernameToken, TokenError>,
        now: WallTime,
    ) -> Result<UserLevel, TokenError> {
        let token = token.as_ref().map_err(|error| *error)?;
        let user = find(access, token.user());
        let nobody = self.password_of_nobody();
        let password = user.map_or(nobody.as_str(), |user| user.credentials.password.as_str());
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        token.verify(password, now, TOKEN_WINDOW, &mut nonces)?;
        user.map(|user| user.level).ok_or(TokenError::Wrong)
    }

    fn digest(&self, access: &Access, login: Login<'_>, header: &str) -> Result<UserLevel, Denied> {
        let denied = |reason: &str| Denied { reason: reason.to_owned(), stale: false };
        let wrong = || denied("user or password is wrong");
        let answer = Authorization::parse(header).map_err(|error| denied(&error.to_string()))?;
        let (Some(nonce), Some(uri)) = (answer.nonce(), answer.uri()) else {
            return Err(denied("a password in the clear is not accepted"));
        };
        if path_of(uri) != path_of(login.target) {
            return Err(denied("the digest was made for another address"));
        }
        let user = find(access, answer.user());
        let nobody = self.password_of_nobody();
        let password = user.map_or(nobody.as_str(), |user| user.credentials.password.as_str());
        let right = answer.verify(password, REALM, nonce, login.method);
        let user = user.filter(|_| right).ok_or_else(wrong)?;
        let stale =
            || Denied { reason: "the number of the digest was used or is too old".to_owned(), stale: true };
        let issued = self.issued(nonce).ok_or_else(stale)?;
        // Without a count a number is good once.
        if !self.take(nonce, issued, answer.count().unwrap_or(u32::MAX)) {
            return Err(stale());
        }
        Ok(user.level)
    }

    /// The headers `WWW-Authenticate` of a refusal. `chance` is unpredictable.
    pub(crate) fn challenges(&self, chance: [u8; 8], stale: bool) -> Vec<String> {
        let issued = hex(&self.start.elapsed().as_millis().to_be_bytes());
        let nonce = format!("{issued}{}", hex(&chance));
        challenges(REALM, &format!("{nonce}{}", self.seal(&nonce)), stale)
    }

    fn seal(&self, text: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.secret);
        hash.update(text.as_bytes());
        // The secret once more behind the text: nobody can lengthen what they know the hash of.
        hash.update(self.secret);
        hex(hash.finalize().get(..16).unwrap_or_default())
    }

    /// When a number was given out, since the start; `None` when it is not ours or too old.
    fn issued(&self, nonce: &str) -> Option<Duration> {
        const MILLIS_DIGITS: usize = 32;
        const CHANCE_DIGITS: usize = 16;
        let (text, seal) = nonce.split_at_checked(MILLIS_DIGITS + CHANCE_DIGITS)?;
        if self.seal(text) != seal {
            return None;
        }
        let millis = u64::from_str_radix(text.get(..MILLIS_DIGITS)?, 16).ok()?;
        let issued = Duration::from_millis(millis);
        (self.start.elapsed().saturating_sub(issued) < NONCE_LIFE).then_some(issued)
    }

    /// Whether this use of a number is the first.
    fn take(&self, nonce: &str, issued: Duration, count: u32) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let Used { by_nonce, floor } = &mut *used;
        if let Some(uses) = by_nonce.get_mut(nonce) {
            return uses.take(count);
        }
        if floor.is_some_and(|floor| issued <= floor) {
            return false;
        }
        let present = self.start.elapsed();
        by_nonce.retain(|_, uses| present.saturating_sub(uses.issued) < NONCE_LIFE);
        // A client that asks for a number for each call fills the table; it only ever needs its last one.
        if by_nonce.len() >= USED_MAX {
            let mut times: Vec<Duration> = by_nonce.values().map(|uses| uses.issued).collect();
            times.sort_unstable();
            *floor = times.get(times.len() / 2).copied();
            by_nonce.retain(|_, uses| floor.is_none_or(|floor| uses.issued > floor));
        }
        by_nonce.insert(nonce.to_owned(), Uses { issued, highest: count, recent: 1 });
        true
    }

    /// What is verified where there is no such user, so that it takes as long.
    fn password_of_nobody(&self) -> String {
        hex(&self.secret)
    }
}

impl Uses {
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count.saturating_sub(self.highest);
            self.recent = self.recent.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest.saturating_sub(count);
        match 1_u64.checked_shl(behind) {
            Some(bit) if self.recent & bit == 0 => {
                self.recent |= bit;
                true
            }
            Some(_) | None => false,
        }
    }
}

fn find<'a>(access: &'a Access, name: &str) -> Option<&'a super::backend::User> {
    match access {
        Access::Open => None,
        Access::Users(users) => users.iter().find(|user| user.credentials.user == name),
    }
}

/// The path and query of an address, which some clients write in full.
fn path_of(uri: &str) -> &str {
    let Some((_, rest)) = uri.split_once("://") else { return uri };
    rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use keepwatch_media::auth::{Challenge, Credentials};

    use super::*;
    use crate::device::backend::User;

    const TARGET: &str = "/onvif/device_service";

    fn credentials() -> Credentials {
        Credentials { user: "viewer".to_owned(), password: "correct horse".to_owned() }
    }

    fn access() -> Access {
        Access::Users(vec![User { credentials: credentials(), level: UserLevel::Operator }])
    }

    fn login(authorization: Option<&str>) -> Login<'_> {
        Login { method: "POST", target: TARGET, authorization, token: None }
    }

    fn admit(gate: &Gate, authorization: Option<&str>) -> Result<Option<UserLevel>, Denied> {
        gate.admit(&access(), login(authorization), WallTime::from_ticks(0))
    }

    fn answers(gate: &Gate, credentials: &Credentials, uri: &str, count: u32) -> Vec<String> {
        let headers = gate.challenges([1; 8], false);
        let challenges = headers.iter().flat_map(|header| Challenge::parse_all(header));
        challenges.map(|challenge| challenge.answer(credentials, "POST", uri, "client", count)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn both_digests_let_in_and_their_number_serves_again_with_another_count() {
        let gate = Gate::new([7; 32]);
        let headers = gate.challenges([1; 8], false);
        assert_eq!(headers.len(), 2);
        for header in headers {
            let challenge = Challenge::parse_all(&header).remove(0);
            let answer = |count| challenge.answer(&credentials(), "POST", TARGET, "client", count);
            // The numbers of both are the same, so the counts must not meet.
            let first = if header.contains("SHA-256") { 1 } else { 10 };
            assert_eq!(admit(&gate, Some(&answer(first + 2))), Ok(Some(UserLevel::Operator)), "{header}");
            assert_eq!(admit(&gate, Some(&answer(first))), Ok(Some(UserLevel::Operator)), "overtaken");
            let again = admit(&gate, Some(&answer(first))).unwrap_err();
            assert!(again.stale, "an overheard request was accepted");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_else_lets_in() {
        let gate = Gate::new([7; 32]);
        let other = Gate::new([8; 32]);
        let wrong = Credentials { password: "wrong".to_owned(), ..credentials() };
        let unknown = Credentials { user: "nobody".to_owned(), ..credentials() };
        let refused = |header: &str| admit(&gate, Some(header)).unwrap_err();
        assert!(!refused(&answers(&gate, &wrong, TARGET, 1)[0]).stale);
        assert!(!refused(&answers(&gate, &unknown, TARGET, 1)[0]).stale);
        assert!(!refused(&answers(&gate, &credentials(), "/elsewhere", 1)[0]).stale);
        assert!(refused(&answers(&other, &credentials(), TARGET, 1)[0]).stale, "a number of another device");
        assert!(!refused("Basic dmlld2VyOmNvcnJlY3QgaG9yc2U=").stale, "a password in the clear");
        assert!(!refused("nonsense").stale);
        assert!(!admit(&gate, None).unwrap_err().stale);
        let full = format!("http://camera:80{TARGET}");
        assert!(admit(&gate, Some(&answers(&gate, &credentials(), &full, 1)[0])).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_grows_old_and_the_client_may_try_again() {
        let gate = Gate::new([7; 32]);
        let answer = answers(&gate, &credentials(), TARGET, 1).remove(0);
        tokio::time::advance(NONCE_LIFE).await;
        assert!(admit(&gate, Some(&answer)).unwrap_err().stale);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_number_for_each_call_is_served_on() {
        let gate = Gate::new([7; 32]);
        let first = answers(&gate, &credentials(), TARGET, 1).remove(0);
        assert!(admit(&gate, Some(&first)).is_ok());
        for _ in 0..3 * USED_MAX {
            tokio::time::advance(Duration::from_millis(10)).await;
            let answer = answers(&gate, &credentials(), TARGET, 1).remove(0);
            assert_eq!(admit(&gate, Some(&answer)), Ok(Some(UserLevel::Operator)));
        }
        assert!(admit(&gate, Some(&first)).unwrap_err().stale, "a forgotten number was good again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_lets_in_once_and_a_device_without_users_asks_nobody() {
        let gate = Gate::new([7; 32]);
        let now = WallTime::from_ticks(90_000_000);
        let token = Ok(UsernameToken::new(&credentials(), [1; 16], now));
        let by_token = Login { token: Some(&token), ..login(None) };
        assert_eq!(gate.admit(&access(), by_token, now), Ok(Some(UserLevel::Operator)));
        assert!(gate.admit(&access(), by_token, now).unwrap_err().reason.contains("used before"));
        let late = Ok(UsernameToken::new(&credentials(), [2; 16], now.plus(-3600 * 90_000)));
        let by_late = Login { token: Some(&late), ..login(None) };
        assert!(gate.admit(&access(), by_late, now).unwrap_err().reason.contains("3600 s"));
        // The digest helps whose clock is wrong.
        let digest = answers(&gate, &credentials(), TARGET, 1).remove(0);
        let both = Login { authorization: Some(&digest), ..by_late };
        assert_eq!(gate.admit(&access(), both, now), Ok(Some(UserLevel::Operator)));
        assert_eq!(gate.admit(&Access::Open, login(None), now), Ok(None));
    }
}
