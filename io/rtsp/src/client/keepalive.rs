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
    /// When the last one was sent, as long as it is not answered.
    awaited_since: Option<Instant>,
    /// Whether the last one was sent because the one before was refused.
    again: bool,
}

impl Keepalive {
    /// Keepalives for a session that began at `now`: at a third of its timeout, so that one that is lost or
    /// refused does not cost the session; or as configured.
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
        let third = session_timeout.unwrap_or(SESSION_TIMEOUT_DEFAULT) / 3;
        let interval = configured.unwrap_or_else(|| third.clamp(INTERVAL_MIN, INTERVAL_MAX));
        Self { interval, due: now + interval, method, sent: 0, refused: 0, awaited_since: None, again: false }
    }

    /// The method to send at `now`; `None` when it is not time.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Method> {
        if now < self.due {
            return None;
        }
        self.due = now + self.interval;
        self.awaited_since = Some(now);
        self.sent = self.sent.saturating_add(1);
        Some(self.method.clone())
    }

    /// Whether an answer may still come. What was not answered within an interval never is.
    pub(super) fn is_awaited(&self, now: Instant) -> bool {
        self.awaited_since.is_some_and(|sent| now.saturating_duration_since(sent) < self.interval)
    }

    /// Takes note of an answer at `now`. What is refused is sent once more at once, with a new login or another
    /// method, for it did not keep the session; a second refusal has to wait, or there would be no end.
    pub(super) fn answered(&mut self, now: Instant, status: u16) {
        self.awaited_since = None;
        if (200..300).contains(&status) {
            self.again = false;
            return;
        }
        self.refused = self.refused.saturating_add(1);
        if !self.again {
            self.again = true;
            self.due = now;
        }
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
    fn comes_at_a_third_of_the_timeout_within_reason() {
        for (timeout_s, expected_s) in
            [(None, 20), (Some(60), 20), (Some(21), 7), (Some(1), 5), (Some(86_400), 30)]
        {
            assert_eq!(keepalive(timeout_s).0.interval, Duration::from_secs(expected_s));
        }
    }

    #[test]
    fn comes_again_whether_or_not_it_is_answered() {
        let (mut keepalive, start) = keepalive(None);
        assert_eq!(keepalive.poll(start), None);
        assert_eq!(keepalive.poll(start + Duration::from_secs(21)), Some(Method::GetParameter));
        assert!(keepalive.is_awaited(start + Duration::from_secs(40)));
        assert_eq!(keepalive.poll(start + Duration::from_secs(40)), None);
        assert!(!keepalive.is_awaited(start + Duration::from_secs(41)), "nobody waits for ever");
        assert_eq!(keepalive.poll(start + Duration::from_secs(41)), Some(Method::GetParameter));
    }

    /// retina#136: advertised, then answered with 400.
    #[test]
    fn falls_back_to_options_when_refused_but_not_when_a_login_is_due() {
        let (mut keepalive, start) = keepalive(None);
        keepalive.answered(start, 401);
        assert_eq!(keepalive.poll(start + Duration::from_secs(31)), Some(Method::GetParameter));
        keepalive.answered(start, 400);
        assert_eq!(keepalive.poll(start + Duration::from_secs(62)), Some(Method::Options));
        assert_eq!((keepalive.sent, keepalive.refused), (2, 2));
    }

    /// A stale nonce is answered with 401: the session would be over before the next keepalive of the timer.
    #[test]
    fn a_refused_one_is_repeated_at_once_but_not_twice_in_a_row() {
        let (mut keepalive, start) = keepalive(None);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(keepalive.poll(at(20)).is_some());
        keepalive.answered(at(21), 401);
        assert!(keepalive.poll(at(21)).is_some());
        keepalive.answered(at(22), 401);
        assert!(keepalive.poll(at(22)).is_none());
        assert!(keepalive.poll(at(41)).is_some());
        keepalive.answered(at(41), 401);
        assert!(keepalive.poll(at(42)).is_none());
        assert!(keepalive.poll(at(61)).is_some());
        keepalive.answered(at(61), 200);
        assert!(keepalive.poll(at(81)).is_some());
        keepalive.answered(at(81), 401);
        assert!(keepalive.poll(at(81)).is_some(), "a success lay between");
    }
}
