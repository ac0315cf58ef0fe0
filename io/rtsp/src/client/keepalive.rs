//! When to tell the server that the session is still wanted, and with which method.
//!
//! Cameras answer keepalives with errors, with wrong sequence numbers, or never; some advertise a method and then
//! refuse it. So an answer only chooses the next method. Whether the session lives is seen by the media.

use std::time::Duration;

use keepwatch_media::rtsp::Method;
use tokio::time::Instant;

/// The session timeout when the server names none, RFC 2326 §12.37.
const SESSION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Shortest interval: a camera that names a shorter timeout is not to be believed.
const INTERVAL_MIN: Duration = Duration::from_secs(5);

/// Longest interval: address translators forget a connection that is idle in one direction.
const INTERVAL_MAX: Duration = Duration::from_secs(30);

/// The keepalives of one session.
#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Duration,
    due: Instant,
    method: Method,
    /// Sent so far.
    pub(super) sent: u64,
    /// Answered with anything but success.
    pub(super) refused: u64,
    answered: u64,
}

impl Keepalive {
    /// Keepalives for a session that began at `now`: at half its timeout, or as configured.
    ///
    /// The method is `GET_PARAMETER` without a body (RFC 2326 §10.8) if the server offers it.
    pub(super) fn new(
        now: Instant,
        session_timeout: Option<Duration>,
        configured: Option<Duration>,
        public: &[Method],
    ) -> Self {
        let method =
            if public.contains(&Method::GetParameter) { Method::GetParameter } else { Method::Options };
        let half = session_timeout.unwrap_or(SESSION_TIMEOUT_DEFAULT) / 2;
        let interval = configured.unwrap_or_else(|| half.clamp(INTERVAL_MIN, INTERVAL_MAX));
        Self { interval, due: now + interval, method, sent: 0, refused: 0, answered: 0 }
    }

    /// The method to send at `now`; `None` when it is not time.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Method> {
        if now < self.due {
            return None;
        }
        self.due = now + self.interval;
        self.sent = self.sent.saturating_add(1);
        Some(self.method.clone())
    }

    /// Keepalives that were not answered; late answers may still come.
    pub(super) const fn awaited(&self) -> u64 {
        self.sent.saturating_sub(self.answered)
    }

    /// Takes note of an answer.
    pub(super) fn answered(&mut self, status: u16) {
        self.answered = self.answered.saturating_add(1);
        if (200..300).contains(&status) {
            return;
        }
        self.refused = self.refused.saturating_add(1);
        if status != 401 {
            // Whatever was refused, OPTIONS is the method least likely to be.
            self.method = Method::Options;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keepalive(timeout_s: Option<u64>) -> (Keepalive, Instant) {
        let now = Instant::now();
        let public = [Method::Describe, Method::GetParameter];
        (Keepalive::new(now, timeout_s.map(Duration::from_secs), None, &public), now)
    }

    #[test]
    fn comes_at_half_the_timeout_within_reason() {
        for (timeout_s, expected_s) in
            [(None, 30), (Some(60), 30), (Some(20), 10), (Some(1), 5), (Some(86_400), 30)]
        {
            assert_eq!(keepalive(timeout_s).0.interval, Duration::from_secs(expected_s));
        }
    }

    #[test]
    fn comes_again_whether_or_not_it_is_answered() {
        let (mut keepalive, start) = keepalive(None);
        assert_eq!(keepalive.poll(start), None);
        assert_eq!(keepalive.poll(start + Duration::from_secs(31)), Some(Method::GetParameter));
        assert_eq!(keepalive.poll(start + Duration::from_secs(60)), None);
        assert_eq!(keepalive.poll(start + Duration::from_secs(61)), Some(Method::GetParameter));
    }

    /// retina#136: advertised, then answered with 400.
    #[test]
    fn falls_back_to_options_when_refused_but_not_when_a_login_is_due() {
        let (mut keepalive, start) = keepalive(None);
        keepalive.answered(401);
        assert_eq!(keepalive.poll(start + Duration::from_secs(31)), Some(Method::GetParameter));
        keepalive.answered(400);
        assert_eq!(keepalive.poll(start + Duration::from_secs(62)), Some(Method::Options));
        assert_eq!((keepalive.sent, keepalive.refused), (2, 2));
    }
}
