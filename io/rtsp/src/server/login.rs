//! Who asks: digest authentication, with a nonce that belongs to one connection. The password itself (Basic) is taken
//! only where nobody can listen. Who guesses is made to wait.

use std::net::IpAddr;

use keepwatch_media::auth::{Authorization, basic_challenge, challenges};
use keepwatch_media::rtsp::{Request, Response};

use tokio::time::Instant;
use tracing::debug;

use super::Service;
use super::address::Address;
use super::books::Books;
use crate::{Secret, chance};

/// The realm of all paths.
const REALM: &str = "Keepwatch";

/// Wrong answers until the connection ends: slows down guessing, and a human is not wrong so often.
const FAILURES_MAX: u32 = 5;

/// What is compared with when there is no such user, so that the time taken does not tell.
const NO_PASSWORD: &str = "";

/// What becomes of a request.
pub(super) enum Verdict {
    /// It comes from this user.
    User(String),
    /// It is answered with a challenge.
    Refused(Response),
    /// It is answered, and the connection ends.
    TooMany(Response),
}

/// The login state of one connection.
pub(super) struct Login {
    /// Whence the client comes.
    address: IpAddr,
    /// Whether the password itself may be sent.
    takes_basic: bool,
    books: Books,
    nonce: String,
    failures: u32,
}

impl Login {
    /// Nobody is logged in from `address`. The password itself may be sent over a connection that is `secure`, or one
    /// that does not leave the host.
    pub(super) fn new(address: IpAddr, secure: bool, books: Books) -> Self {
        let takes_basic = secure || address.to_canonical().is_loopback();
        let nonce = format!("{:016x}{:016x}", chance::draw(), chance::draw());
        Self { address, takes_basic, books, nonce, failures: 0 }
    }

    /// Says who `request` comes from.
    pub(super) fn check(&mut self, now: Instant, request: &Request, service: &dyn Service) -> Verdict {
        let Some(header) = request.headers.first("Authorization") else {
            return Verdict::Refused(self.challenge(request, false));
        };
        let Ok(authorization) = Authorization::parse(header) else { return self.failed(request, false) };
        let stale = authorization.nonce().is_some_and(|nonce| nonce != self.nonce);
        let user = authorization.user();
        let wait = self.books.wait(self.address, user, now);
        if !wait.is_zero() {
            // Not looked at, or guessing would go on: also the right password has to wait.
            let response = Response::new(503, request.cseq())
                .header("Retry-After", wait.as_secs().saturating_add(1).to_string());
            return self.count(response);
        }
        let password = service.password(user);
        let compared = password.as_ref().map_or(NO_PASSWORD, Secret::expose);
        let right = authorization.verify(compared, REALM, &self.nonce, request.method.as_str())
            || (self.takes_basic && authorization.verify_basic(compared));
        // Clients differ in slashes and tracks between both; what must not differ is what is asked for. A password
        // is good for all paths.
        let same_path = authorization
            .uri()
            .is_none_or(|uri| Address::parse(uri).path == Address::parse(&request.uri).path);
        let right = right && password.is_some();
        if right {
            self.books.succeeded(self.address, user);
        } else if !stale {
            // What answers another nonce guesses at nothing.
            self.books.failed(self.address, user, now);
            debug!(address = %self.address, user, "wrong user or password");
        }
        if right && same_path { Verdict::User(user.to_owned()) } else { self.failed(request, stale) }
    }

    fn failed(&mut self, request: &Request, stale: bool) -> Verdict {
        let response = self.challenge(request, stale);
        self.count(response)
    }

    /// Answers what is not granted, for so many times.
    fn count(&mut self, response: Response) -> Verdict {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES_MAX { Verdict::Refused(response) } else { Verdict::TooMany(response) }
    }

    fn challenge(&self, request: &Request, stale: bool) -> Response {
        let response = Response::new(401, request.cseq());
        challenges(REALM, &self.nonce, stale)
            .into_iter()
            .chain(self.takes_basic.then(|| basic_challenge(REALM)))
            .fold(response, |response, challenge| response.header("WWW-Authenticate", challenge))
    }
}
