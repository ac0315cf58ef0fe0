//! One call: an envelope to a service and the element that answers it, with whatever login the device turns out to want.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use keepwatch_media::auth::{Challenge, Credentials};
use keepwatch_model::WallTime;
use tokio::time::timeout;
use url::Url;

use super::ClientError;
use super::http::{self, Ask, Reply};
use super::login::Manner;
use super::place;
use super::tls::Tls;
use crate::security::UsernameToken;
use crate::soap::{self, Envelope, Fault, Header};
use crate::uuid::{random, uuid};
use crate::xml::{Element, Limits, Writer};

/// Requests of one call: a login by each manner, an old nonce, a clock that was set, two redirections.
const REQUESTS_MAX: usize = 7;

/// Redirections that are followed; cameras redirect from HTTP to HTTPS, and to a path.
const REDIRECTIONS_MAX: usize = 2;

/// Whether a call carries the login from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// Only when the device asks for it.
    WhenAsked,
    /// As the device wanted it last.
    AsBefore,
}

/// What is called, and where.
pub(super) struct Call<'a> {
    /// The name of the call, which is that of the element in the body, without prefix.
    pub(super) name: &'static str,
    /// The action, for the header of HTTP and that of SOAP.
    pub(super) action: String,
    /// Where.
    pub(super) place: &'a Url,
    /// Elements for the header that a pull point wants to see again.
    pub(super) references: Option<&'a Writer>,
    /// The address for the header of SOAP, beside action and message: a pull point is found by what the device itself wrote.
    /// `None` leaves all three out, for some devices stumble over them.
    pub(super) to: Option<&'a str>,
    /// How long one request may take.
    pub(super) time: Duration,
    /// Whether the login goes with the first request.
    pub(super) login: Login,
    /// How much of the answer is read.
    pub(super) limits: Limits,
}

/// Calls services of one device.
pub(super) struct Caller {
    /// The login; `None` when there is none.
    pub(super) credentials: Option<Credentials>,
    /// Makes TLS sessions.
    pub(super) tls: Tls,
    manner: Mutex<Manner>,
    /// Ticks that the device's clock is ahead of ours; `None` when it was not told.
    clock_offset_ticks: Mutex<Option<i64>>,
}

impl Caller {
    pub(super) fn new(credentials: Option<Credentials>, tls: Tls) -> Self {
        let manner = if credentials.is_some() { Manner::Token } else { Manner::Open };
        Self { credentials, tls, manner: Mutex::new(manner), clock_offset_ticks: Mutex::new(None) }
    }

    /// Ticks that the device's clock is ahead of ours; `None` when it was not told.
    pub(super) fn clock_offset_ticks(&self) -> Option<i64> {
        *self.clock_offset_ticks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_clock_offset_ticks(&self, offset_ticks: Option<i64>) {
        *self.clock_offset_ticks.lock().unwrap_or_else(PoisonError::into_inner) = offset_ticks;
    }

    /// Makes a call and returns the element that answers it. `body` writes the content of the body, and may be called
    /// several times.
    pub(super) async fn call(
        &self,
        call: &Call<'_>,
        body: impl Fn(&mut Writer),
    ) -> Result<Element, ClientError> {
        let mut manner = match call.login {
            Login::AsBefore => self.manner.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Login::WhenAsked => Manner::Open,
        };
        let mut place = call.place.clone();
        let mut redirections = 0;
        for request in 0..REQUESTS_MAX {
            let reply = self.request(call, &place, &manner, &body).await?;
            if let Some(next) = redirection(&reply, &place)? {
                redirections += 1;
                if redirections > REDIRECTIONS_MAX {
                    return Err(ClientError::Redirected(next.to_string()));
                }
                place = next;
                continue;
            }
            let answer = Envelope::parse_within(&reply.body, &call.limits);
            let fault = answer.as_ref().ok().and_then(Envelope::fault);
            let challenged = reply.status == 401;
            let faulted = fault.as_ref().is_some_and(Fault::asks_for_login);
            if challenged || faulted {
                let challenge = Challenge::strongest(reply.challenges.iter().map(String::as_str));
                let challenge = challenge.filter(|_| challenged);
                // The password itself is given only to the device whose certificate was configured.
                let may_tell = place.scheme() == "https" && self.tls.is_pinned();
                let wants_password = matches!(&challenge, Some(Challenge::Basic { .. })) && !may_tell;
                let challenge = challenge.filter(|_| !wants_password);
                // A digest that is challenged again is wrong, and a token beside it would be, too. Each try counts: many
                // devices lock the user after five.
                let asks_for_more = faulted && !(manner.is_digest() && challenge.is_some());
                // Whatever was redirected before, this is the first answer of a device to this call.
                let worked_before = request == redirections;
                let next = challenge.and_then(|challenge| manner.challenged(challenge, worked_before));
                let next = match next {
                    None if asks_for_more || matches!(manner, Manner::Open) => manner.faulted(),
                    next => next,
                };
                manner = match next.filter(|_| self.credentials.is_some()) {
                    Some(next) => next,
                    // A fault tells that a token was looked at, so that the password or the clock is the cause.
                    None if wants_password && !faulted && self.credentials.is_some() => {
                        return Err(ClientError::PasswordInTheClear);
                    }
                    None => return Err(self.locked_out(call.name)),
                };
                continue;
            }
            let status = reply.status;
            let envelope = answer.map_err(|answer| ClientError::Http { call: call.name, status, answer })?;
            if let Some(fault) = fault {
                return Err(ClientError::Refused { call: call.name, fault });
            }
            if call.login == Login::AsBefore {
                *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
            }
            return answer_of(call.name, envelope);
        }
        Err(self.locked_out(call.name))
    }

    /// Fetches what stands at `place`, at most `bytes_max` of it, with the login of HTTP that the device wants.
    pub(super) async fn fetch(
        &self,
        call: &'static str,
        place: &Url,
        time: Duration,
        bytes_max: usize,
    ) -> Result<Vec<u8>, ClientError> {
        // A part of a device that serves pictures is often another program than its services, with nonces of its own.
        let mut manner = Manner::Open;
        let mut place = place.clone();
        let mut redirections = 0;
        for _ in 0..REQUESTS_MAX {
            let authorization = self.credentials.as_ref().and_then(|credentials| {
                let client_nonce = uuid().replace('-', "");
                manner.authorization(credentials, "GET", &place, &client_nonce)
            });
            let ask = Ask {
                call,
                place: &place,
                method: "GET",
                content_type: String::new(),
                body: String::new(),
                authorization,
                answer_bytes_max: bytes_max,
            };
            let late = |_| ClientError::TimedOut { call, after: time };
            let reply = timeout(time, http::exchange(ask, &self.tls)).await.map_err(late)??;
            if let Some(next) = redirection(&reply, &place)? {
                redirections += 1;
                if redirections > REDIRECTIONS_MAX {
                    return Err(ClientError::Redirected(next.to_string()));
                }
                place = next;
                continue;
            }
            match reply.status {
                200 => return Ok(reply.body),
                401 => {}
                status => return Err(ClientError::Status { call, status }),
            }
            let challenge = Challenge::strongest(reply.challenges.iter().map(String::as_str));
            let may_tell = place.scheme() == "https" && self.tls.is_pinned();
            if matches!(&challenge, Some(Challenge::Basic { .. })) && !may_tell && self.credentials.is_some()
            {
                return Err(ClientError::PasswordInTheClear);
            }
            let next = challenge.and_then(|challenge| manner.challenged(challenge, false));
            manner = next.filter(|_| self.credentials.is_some()).ok_or_else(|| self.locked_out(call))?;
        }
        Err(self.locked_out(call))
    }

    async fn request(
        &self,
        call: &Call<'_>,
        place: &Url,
        manner: &Manner,
        body: &impl Fn(&mut Writer),
    ) -> Result<Reply, ClientError> {
        let token = self.credentials.as_ref().filter(|_| manner.has_token()).map(|credentials| {
            let created = now().plus(self.clock_offset_ticks().unwrap_or(0));
            UsernameToken::new(credentials, random(), created)
        });
        let message_id = format!("urn:uuid:{}", uuid());
        let header = Header {
            action: call.to.map(|_| call.action.as_str()),
            message_id: call.to.map(|_| message_id.as_str()),
            relates_to: None,
            to: call.to,
            token: token.as_ref(),
            references: call.references,
        };
        let authorization = self.credentials.as_ref().and_then(|credentials| {
            let client_nonce = uuid().replace('-', "");
            manner.authorization(credentials, "POST", place, &client_nonce)
        });
        let ask = Ask {
            call: call.name,
            place,
            method: "POST",
            content_type: format!("application/soap+xml; charset=utf-8; action=\"{}\"", call.action),
            body: soap::write(&header, body),
            authorization,
            answer_bytes_max: call.limits.bytes,
        };
        let late = |_| ClientError::TimedOut { call: call.name, after: call.time };
        timeout(call.time, http::exchange(ask, &self.tls)).await.map_err(late)?
    }

    fn locked_out(&self, call: &'static str) -> ClientError {
        match &self.credentials {
            None => ClientError::LoginNeeded(call),
            Some(credentials) => ClientError::LoginRefused {
                user: credentials.user.clone(),
                clock_offset_ms: self.clock_offset_ticks().map(|ticks| ticks / 90),
            },
        }
    }
}

/// Where a redirection leads; `None` when the reply is none.
fn redirection(reply: &Reply, place: &Url) -> Result<Option<Url>, ClientError> {
    if !matches!(reply.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = &reply.location else { return Ok(None) };
    let shown = || ClientError::Redirected(location.chars().take(200).collect());
    let next = place.join(location).map_err(|_| shown())?;
    let same_host = next.host_str() == place.host_str();
    let less_secure = place.scheme() == "https" && next.scheme() != "https";
    if !same_host || less_secure || !matches!(next.scheme(), "http" | "https") {
        return Err(shown());
    }
    place::device_service(&next).map(Some)
}

/// The element that answers a call.
fn answer_of(call: &'static str, envelope: Envelope) -> Result<Element, ClientError> {
    let missing = ClientError::Missing { call, what: "content" };
    let operation = envelope.body.children.into_iter().next().ok_or(missing)?;
    // Some devices answer one call with the answer to another when they are busy.
    if operation.name.strip_suffix("Response") != Some(call) {
        return Err(ClientError::Missing { call, what: "element of that name" });
    }
    Ok(operation)
}

/// The time of day by the clock of this machine.
pub(super) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_nanos(i128::try_from(since.as_nanos()).unwrap_or(i128::MAX))
}
