//! What both phases say to the server: numbering, session, login, and the answers to the server's own requests.

use std::fmt;

use keepwatch_media::auth::{Challenge, Credentials};
use keepwatch_media::rtsp::{Method, Request, Response, RtspMessage, ShownAddress};
use keepwatch_media::text::Message;

use crate::chance;
use crate::secret::Secret;

/// A message of the server.
pub(super) enum Incoming {
    /// An answer.
    Response(Response),
    /// A request.
    Request {
        /// What to send back.
        answer: Vec<u8>,
        /// Whether the server thereby ends the session.
        ends_session: bool,
    },
    /// Text that is neither.
    Neither,
}

/// The client's side of the conversation.
pub(super) struct Dialogue {
    user_agent: String,
    login: Option<(String, Secret)>,
    /// What the server asked for last, and how many requests answered it.
    challenge: Option<(Challenge, u32)>,
    cseq: u32,
    /// The session's identifier, from the first `SETUP` on.
    pub(super) session: Option<String>,
    /// The address of all tracks together, from `PLAY` on.
    pub(super) aggregate: String,
}

impl Dialogue {
    /// A conversation that has not begun.
    pub(super) fn new(user_agent: String, login: Option<(String, Secret)>) -> Self {
        Self { user_agent, login, challenge: None, cseq: 0, session: None, aggregate: String::new() }
    }

    /// Appends a request; returns its sequence number.
    pub(super) fn write(
        &mut self,
        method: Method,
        uri: &str,
        headers: &[(String, String)],
        out: &mut Vec<u8>,
    ) -> u32 {
        self.cseq = self.cseq.wrapping_add(1);
        let mut request = Request::new(method.clone(), uri, self.cseq).header("User-Agent", &self.user_agent);
        if let Some(session) = &self.session {
            request = request.header("Session", session);
        }
        if let Some(authorization) = self.authorization(method.as_str(), uri) {
            request = request.header("Authorization", authorization);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.write(out);
        self.cseq
    }

    /// The sequence number of the request that was written last.
    pub(super) const fn cseq(&self) -> u32 {
        self.cseq
    }

    /// Takes note of what a 401 asks for. `again` says that the request already carried a login; then only a
    /// server that calls its nonce stale is answered once more.
    pub(super) fn take_challenge(&mut self, response: &Response, again: bool) -> Result<(), &'static str> {
        if self.login.is_none() {
            return Err("the server asks for a user and a password, and none is configured");
        }
        let challenge = Challenge::strongest(response.headers.all("WWW-Authenticate"))
            .ok_or("the server asks for a login of an unknown kind")?;
        let stale = matches!(challenge, Challenge::Digest { stale: true, .. });
        if again && !stale {
            return Err("the user or the password is wrong");
        }
        self.challenge = Some((challenge, 0));
        Ok(())
    }

    /// The `Authorization` header of a request; `None` as long as the server asks for none.
    fn authorization(&mut self, method: &str, uri: &str) -> Option<String> {
        let (user, password) = self.login.as_ref()?;
        let (challenge, count) = self.challenge.as_mut()?;
        *count = count.saturating_add(1);
        let credentials = Credentials { user: user.clone(), password: password.expose().to_owned() };
        Some(challenge.answer(&credentials, method, uri, &format!("{:016x}", chance::draw()), *count))
    }

    /// Appends a keepalive.
    pub(super) fn write_keepalive(&mut self, method: Method, out: &mut Vec<u8>) {
        self.write_aggregate(method, &[], out);
    }

    /// Appends the request that ends the session; returns its sequence number.
    pub(super) fn write_teardown(&mut self, out: &mut Vec<u8>) -> u32 {
        self.write_aggregate(Method::Teardown, &[], out)
    }

    /// Appends a request about all tracks together; returns its sequence number.
    pub(super) fn write_aggregate(
        &mut self,
        method: Method,
        headers: &[(String, String)],
        out: &mut Vec<u8>,
    ) -> u32 {
        let aggregate = std::mem::take(&mut self.aggregate);
        let cseq = self.write(method, &aggregate, headers, out);
        self.aggregate = aggregate;
        cseq
    }

    /// Reads a message; for a request, says what to answer.
    pub(super) fn take(&mut self, message: Message) -> Incoming {
        match RtspMessage::try_from(message) {
            Ok(RtspMessage::Response(response)) => Incoming::Response(response),
            Ok(RtspMessage::Request(request)) => {
                let (status, ends_session) = match request.method {
                    Method::Options | Method::GetParameter | Method::SetParameter => (200, false),
                    Method::Teardown => (200, true),
                    Method::Describe
                    | Method::Announce
                    | Method::Setup
                    | Method::Play
                    | Method::Pause
                    | Method::Record
                    | Method::Redirect
                    | Method::Other(_) => (501, false),
                };
                let mut answer = Vec::new();
                Response::new(status, request.cseq()).write(&mut answer);
                Incoming::Request { answer, ends_session }
            }
            Err(_) => Incoming::Neither,
        }
    }
}

impl fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialogue")
            .field("cseq", &self.cseq)
            .field("session", &self.session)
            .field("aggregate", &ShownAddress(&self.aggregate))
            .finish_non_exhaustive()
    }
}
