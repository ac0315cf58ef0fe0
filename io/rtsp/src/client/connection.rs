//! The connection before media flows: one request at a time, each with its time limit.

use std::time::Duration;

use keepwatch_media::rtsp::{Method, Response, ShownAddress};
use keepwatch_media::text::{Frame, Framer, write_interleaved};
use tokio::time::{Instant, timeout_at};

use super::config::ClientConfig;
use super::described::protocol;
use super::dial::dial;
use super::dialogue::{Dialogue, Incoming};
use super::error::{ClientError, Step};
use super::link::Link;

/// Media kept that came before the answer to `PLAY`: cameras begin to send first and answer then, but not with
/// more than a key frame. What exceeds it shows as lost packets.
const EARLY_BYTES_MAX: usize = 256 * 1024;

/// The same of a replay, which comes as fast as the network takes it. What exceeds it ends the connection: footage must
/// not be missed in silence, and can be asked for again.
const EARLY_REPLAY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How often one request may be repeated with a login: once when the server asks for it, once more when its nonce
/// went stale meanwhile. More would lock the account of a camera that counts failures.
const LOGINS_MAX: u32 = 2;

/// Longest part of a server's text in an error.
const EXCERPT_CHARS: usize = 200;

/// A connection in its first phase.
pub(super) struct Connection {
    pub(super) link: Link,
    pub(super) framer: Framer,
    pub(super) dialogue: Dialogue,
    /// Media that came early, framed as it came, followed by bytes not yet looked at.
    pub(super) tail: Vec<u8>,
    /// How much of `tail` is early media.
    early: usize,
    /// Whether early media must not be dropped.
    keeps_early: bool,
    timeout: Duration,
}

impl Connection {
    /// Connects to the server of `config`.
    pub(super) async fn open(config: &ClientConfig) -> Result<Self, ClientError> {
        let (host, port) = config.host_and_port()?;
        let deadline = Instant::now() + config.timeout;
        let stream = dial(&host, port, deadline, config).await?;
        let link = if config.is_secure() {
            let secured = Link::secured(stream, &host, config.certificate);
            timeout_at(deadline, secured).await.map_err(|_| ClientError::TimedOut(Step::Connect))??
        } else {
            Link::plain(stream)
        };
        let dialogue = Dialogue::new(config.user_agent.clone(), config.login());
        let framer = Framer::new();
        Ok(Self {
            link,
            framer,
            dialogue,
            tail: Vec::new(),
            early: 0,
            keeps_early: false,
            timeout: config.timeout,
        })
    }

    /// From here on media that come early are all kept, or the connection ends.
    pub(super) const fn keep_early(&mut self) {
        self.keeps_early = true;
    }

    /// Sends a request, with a login if the server wants one, and returns the successful answer.
    pub(super) async fn ask(
        &mut self,
        step: Step,
        method: Method,
        uri: &str,
        headers: &[(String, String)],
    ) -> Result<Response, ClientError> {
        let deadline = Instant::now() + self.timeout;
        let mut logins = 0;
        loop {
            let mut bytes = Vec::with_capacity(512);
            self.dialogue.write(method.clone(), uri, headers, &mut bytes);
            let answer = timeout_at(deadline, async {
                self.link.send(&bytes).await.map_err(|error| broken(step, error))?;
                self.answer(step).await
            });
            let response = answer.await.map_err(|_| ClientError::TimedOut(step))??;
            match response.status {
                200..=299 => return Ok(response),
                300..=399 => {
                    let location = response.headers.first("Location").unwrap_or_default();
                    return Err(ClientError::Redirected { location: ShownAddress(location).to_string() });
                }
                401 => {
                    self.dialogue.take_challenge(&response, logins > 0).map_err(ClientError::Unauthorized)?;
                    logins += 1;
                    if logins > LOGINS_MAX {
                        return Err(ClientError::Unauthorized("the server asks for a login again and again"));
                    }
                }
                status => {
                    return Err(ClientError::refused(step, status, excerpt(&response.reason)));
                }
            }
        }
    }

    /// The next final response. Its sequence number is not compared: there is one request at a time, and cameras
    /// get it wrong.
    async fn answer(&mut self, step: Step) -> Result<Response, ClientError> {
        loop {
            while let Some(found) = self.next_message(step)? {
                match found {
                    Incoming::Response(response) if response.status >= 200 => return Ok(response),
                    Incoming::Response(_) | Incoming::Neither => {}
                    Incoming::Request { answer, ends_session } => {
                        self.link.send(&answer).await.map_err(|error| broken(step, error))?;
                        if ends_session {
                            return Err(ClientError::Ended { step, source: None });
                        }
                    }
                }
            }
            match self.link.receive(&mut self.tail).await {
                Ok(0) if self.framer.skipped_bytes() > 0 => {
                    return Err(protocol(step, "what the server sends is not RTSP"));
                }
                Ok(0) => return Err(ClientError::Ended { step, source: None }),
                Ok(_) => {}
                Err(error) => return Err(broken(step, error)),
            }
        }
    }

    /// The next message among the bytes that were read; media before it is kept.
    fn next_message(&mut self, step: Step) -> Result<Option<Incoming>, ClientError> {
        let mut at = self.early;
        let mut early = Vec::new();
        let message = loop {
            match self.framer.next(&self.tail, &mut at).map_err(|error| protocol(step, error))? {
                Some(Frame::Text(message)) => break Some(message),
                Some(Frame::Interleaved { channel, data }) => {
                    let bytes = self.early.saturating_add(early.len()).saturating_add(data.len());
                    if self.keeps_early && bytes > EARLY_REPLAY_BYTES_MAX {
                        let problem = "more media came before the answer than can be kept";
                        return Err(broken(step, std::io::Error::other(problem)));
                    }
                    if self.keeps_early || bytes <= EARLY_BYTES_MAX {
                        // Cannot fail: the data came in a frame of the same size.
                        write_interleaved(&mut early, channel, |out| out.extend_from_slice(data));
                    }
                }
                None => break None,
            }
        };
        let kept = self.early;
        self.early = self.early.saturating_add(early.len());
        self.tail.splice(kept..at.min(self.tail.len()), early);
        Ok(message.map(|message| self.dialogue.take(message)))
    }
}

/// An error of the connection.
fn broken(step: Step, error: std::io::Error) -> ClientError {
    ClientError::Ended { step, source: Some(error) }
}

/// The beginning of a server's text.
fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS).collect()
}
