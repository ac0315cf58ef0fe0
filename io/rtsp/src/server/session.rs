//! A session: one source on its way to one client, from `SETUP` to `TEARDOWN`.
//!
//! Live and recorded media take the same way. Live media wait in a bounded [`Queue`] that drops; of recorded media
//! one is held until it is due and the client has taken all before it, and the source is not asked for more.

use keepwatch_media::replay::{ClockRange, PlayRequest, RateControl};
use keepwatch_media::rtsp::{LowerTransport, RtpInfo, Transport};
use keepwatch_model::{TrackConfig, WallTime, duration_from_ticks, ticks_from_duration};
use tokio::time::Instant;
use tracing::debug;

use super::pace::Pace;
use super::queue::{Queue, Queued};
use super::sender::{Sender, Timing};
use super::tally::Ticket;
use super::udp::{self, Datagrams, Link};
use super::{Delivery, Media, PlayAnswer, PlayError, Source};

/// The states of RFC 2326 appendix A.2, as far as there is a session.
///
/// ```text
///           PLAY
///  Ready ─────────> Playing ──┐ PLAY: seek
///    ^                │   ^───┘
///    └──── PAUSE ─────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Set up, or paused.
    Ready,
    /// Media flow, or would if there were more.
    Playing,
}

/// Who this session is of and what it plays.
pub(super) struct Identity {
    /// Its identifier.
    pub(super) id: String,
    /// The user who set it up; `None` where no login is needed.
    pub(super) user: Option<String>,
    /// The path of its source.
    pub(super) path: String,
    /// Counts it.
    pub(super) _ticket: Ticket,
}

/// A session.
pub(super) struct Session {
    /// Who and what.
    pub(super) identity: Identity,
    source: Box<dyn Source>,
    delivery: Delivery,
    tracks: Vec<TrackConfig>,
    /// For each track of the source its sender, if it was asked for.
    senders: Vec<Option<Sender>>,
    /// The `RTP-Info` address of each.
    addresses: Vec<String>,
    /// The sockets; `None` when media go over the connection.
    datagrams: Option<Datagrams>,
    state: State,
    /// Live media that the client has not taken.
    queue: Queue,
    /// Recorded media, and the playing time at which they are due where the server sets the pace.
    held: Option<(Queued, Option<i64>)>,
    /// Whether the source has no more.
    ended: bool,
    /// Whether nothing came since the last `PLAY`, so that it may begin behind a hole.
    fresh: bool,
    /// When playing time began.
    began: Instant,
    /// The capture time that the RTP clocks began with, where they show captured time.
    epoch: Option<WallTime>,
    /// What the last `PLAY` agreed to; `None` before the first.
    granted: Option<PlayAnswer>,
    pace: Option<Pace>,
}

impl Session {
    /// A session that plays nothing yet, over the connection or in datagrams.
    pub(super) fn new(
        identity: Identity,
        source: Box<dyn Source>,
        tracks: Vec<TrackConfig>,
        lower: LowerTransport,
    ) -> Self {
        Self {
            identity,
            delivery: source.delivery(),
            source,
            senders: tracks.iter().map(|_| None).collect(),
            addresses: vec![String::new(); tracks.len()],
            datagrams: match lower {
                LowerTransport::Tcp => None,
                LowerTransport::Udp => Some(Datagrams::new(tracks.len())),
            },
            state: State::Ready,
            queue: Queue::new(&tracks),
            tracks,
            held: None,
            ended: false,
            fresh: true,
            began: Instant::now(),
            epoch: None,
            granted: None,
            pace: None,
        }
    }

    /// How its media are delivered.
    pub(super) fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// All tracks of its source.
    pub(super) fn tracks(&self) -> &[TrackConfig] {
        &self.tracks
    }

    /// Its state.
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// What its media run over.
    pub(super) fn lower(&self) -> LowerTransport {
        if self.datagrams.is_some() { LowerTransport::Udp } else { LowerTransport::Tcp }
    }

    /// Its sockets; `None` when media go over the connection.
    pub(super) fn datagrams(&self) -> Option<&Datagrams> {
        self.datagrams.as_ref()
    }

    /// Access units left out because the client was too slow, ever.
    pub(super) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// The channels for the track at `position`: those asked for if they are free, else the next free ones; `None`
    /// when those asked for belong to another track.
    pub(super) fn channels(&self, position: usize, asked: Option<(u8, u8)>) -> Option<(u8, u8)> {
        let others = self.senders.iter().enumerate().filter(|(other, _)| *other != position);
        let taken: Vec<_> = others
            .filter_map(|(_, sender)| sender.as_ref())
            .flat_map(|sender| [sender.channels().0, sender.channels().1])
            .collect();
        match asked {
            Some((rtp, rtcp)) if rtp == rtcp || taken.contains(&rtp) || taken.contains(&rtcp) => None,
            Some(asked) => Some(asked),
            None => (0..=u8::MAX - 1)
                .step_by(2)
                .find(|rtp| !taken.contains(rtp) && !taken.contains(&(rtp + 1)))
                .map(|rtp| (rtp, rtp + 1)),
        }
    }

    /// Sets up the track at `position`, which the client calls `address`; with a `link` where datagrams are sent.
    pub(super) fn set_up(&mut self, position: usize, sender: Sender, address: &str, link: Option<Link>) {
        if let (Some(place), Some(told)) = (self.senders.get_mut(position), self.addresses.get_mut(position))
        {
            *place = Some(sender);
            address.clone_into(told);
        }
        if let (Some(datagrams), Some(link)) = (&mut self.datagrams, link) {
            datagrams.set_link(position, link);
        }
    }

    /// Plays what `asked` asks for. On an error all stays as it was.
    pub(super) fn play(&mut self, now: Instant, asked: &PlayRequest) -> Result<PlayAnswer, PlayError> {
        let mut answer = self.source.play(asked)?;
        let now_ticks = self.ticks(now);
        let turns = self.granted.is_some_and(|old| old.scale.is_reverse() != answer.scale.is_reverse());
        let seeks = asked.range.is_some() || turns;
        match self.delivery {
            Delivery::Live => {
                let range = answer.range.map(|range| ClockRange { to: None, ..range });
                answer = PlayAnswer { range, ..PlayAnswer::LIVE };
                if self.state == State::Ready {
                    // What passed during a pause is not wanted, and decoding begins at a key frame.
                    self.queue.clear();
                }
            }
            Delivery::Complete => {
                self.ended = false;
                self.fresh = true;
                if seeks {
                    self.held = None;
                }
                let from = answer.range.map(|range| range.from);
                self.pace = match answer.rate_control {
                    RateControl::Paced => Some(Pace::new(answer.scale, now_ticks, from)),
                    RateControl::Free => None,
                };
                if self.epoch.is_none() {
                    self.epoch = from;
                }
                for sender in self.senders.iter_mut().flatten() {
                    sender.play(asked.sequence(), seeks);
                }
                // What was held back by a pause is due at once.
                self.held = self.held.take().map(|(queued, _)| self.hold(now, queued));
            }
        }
        self.granted = Some(answer);
        self.state = State::Playing;
        Ok(answer)
    }

    /// Pauses.
    pub(super) fn pause(&mut self) {
        self.source.pause();
        self.state = State::Ready;
    }

    /// What the last `PLAY` agreed to; `None` before the first.
    pub(super) fn granted(&self) -> Option<PlayAnswer> {
        self.granted
    }

    /// Where each track goes on (RFC 2326 §12.33), told before any media come.
    pub(super) fn rtp_info(&self, now: Instant) -> Vec<RtpInfo> {
        let from = self.granted.and_then(|granted| granted.range).map(|range| range.from);
        let ticks = match (self.delivery, self.pace) {
            (Delivery::Live, _) => self.epoch.is_none().then_some(0),
            (Delivery::Complete, Some(_)) => Some(self.ticks(now)),
            (Delivery::Complete, None) => match (self.epoch, from) {
                (Some(epoch), Some(from)) => Some(from.ticks_since(epoch)),
                (None, _) => Some(0),
                (Some(_), None) => None,
            },
        };
        let senders = self.senders.iter().zip(&self.addresses);
        senders
            .filter_map(|(sender, address)| Some((sender.as_ref()?, address)))
            .map(|(sender, address)| RtpInfo {
                url: address.clone(),
                sequence: Some(sender.next_sequence()),
                timestamp: ticks.map(|ticks| sender.timestamp_at(ticks)),
            })
            .collect()
    }

    /// Whether the source is to be asked for more; `taken` says whether the client has taken all that was sent.
    fn wants_media(&self, taken: bool) -> bool {
        let idle = || self.held.is_none() && taken && self.datagrams.as_ref().is_none_or(Datagrams::is_idle);
        self.state == State::Playing
            && !self.ended
            && match self.delivery {
                Delivery::Live => true,
                Delivery::Complete => idle(),
            }
    }

    /// Keeps what the source gave.
    pub(super) fn take(&mut self, now: Instant, media: Option<Media>) {
        let Some(media) = media else {
            self.ended = true;
            return;
        };
        if !self.senders.get(media.track).is_some_and(Option::is_some) {
            return;
        }
        match self.delivery {
            Delivery::Live => self.queue.push(media),
            Delivery::Complete => self.held = Some(self.hold(now, Queued::whole(media))),
        }
    }

    /// Recorded media with the playing time at which they are due.
    fn hold(&mut self, now: Instant, queued: Queued) -> (Queued, Option<i64>) {
        let now_ticks = self.ticks(now);
        let marked = queued.media.mark.is_some_and(|mark| mark.discontinuity);
        let discontinuity = std::mem::take(&mut self.fresh) | marked;
        let due =
            self.pace.as_mut().map(|pace| pace.due_ticks(now_ticks, queued.media.capture, discontinuity));
        (queued, due)
    }

    /// Takes out the next media to be sent at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Queued, Timing)> {
        if self.state != State::Playing {
            return None;
        }
        match self.delivery {
            Delivery::Live => {
                let queued = self.queue.pop()?;
                let epoch = *self.epoch.get_or_insert(queued.media.capture);
                Some((queued, Timing::Live { epoch }))
            }
            Delivery::Complete => {
                let now_ticks = self.ticks(now);
                let (queued, due) = self.held.take_if(|(_, due)| due.is_none_or(|due| due <= now_ticks))?;
                let timing = match due {
                    Some(ticks) => {
                        Timing::Paced { ticks, now_ticks, even: self.pace.is_some_and(|pace| pace.is_even()) }
                    }
                    None => Timing::Free { epoch: *self.epoch.get_or_insert(queued.media.capture) },
                };
                Some((queued, timing))
            }
        }
    }

    /// When the media that are held are due; `None` when none are, or at once.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.held.as_ref().filter(|_| self.state == State::Playing)?.1?;
        // Rounded up, so that it is due when the timer says so.
        Some(self.began + duration_from_ticks(due.saturating_add(1)))
    }

    /// Appends the packets of one access unit; what cannot be sent is left out.
    pub(super) fn packetize(&mut self, now: Instant, queued: &Queued, timing: Timing, out: &mut Vec<u8>) {
        let track = queued.media.track;
        let Some(Some(sender)) = self.senders.get_mut(track) else { return };
        if !self.source.reports() {
            sender.withhold_report(now);
        }
        if let Err(error) = sender.push(now, timing, queued, out) {
            debug!(track, %error, "the source gave what cannot be sent");
        }
    }

    /// Appends one access unit to the datagrams that are to be sent.
    pub(super) fn packetize_datagrams(&mut self, now: Instant, queued: &Queued, timing: Timing) {
        if let Some(mut datagrams) = self.datagrams.take() {
            self.packetize(now, queued, timing, datagrams.packets());
            self.datagrams = Some(datagrams);
        }
    }

    /// Sends datagrams that are left.
    pub(super) fn send_datagrams(&mut self, now: Instant, quirks: &super::Quirks) -> udp::Progress {
        let free = self.delivery == Delivery::Complete && self.pace.is_none();
        let rate = if free { udp::FREE_BYTES_PER_SECOND } else { udp::LIVE_BYTES_PER_SECOND };
        self.datagrams.as_mut().map_or(udp::Progress::Done, |datagrams| datagrams.send(now, rate, quirks))
    }

    /// Whether the source broke off.
    pub(super) fn is_broken(&self) -> bool {
        self.ended && self.source.is_broken()
    }

    /// Whether all of its footage was played; a seek makes it go on.
    pub(super) fn has_ended(&self) -> bool {
        self.ended && self.held.is_none()
    }

    /// Whether it has ended and the connection with it: of a live source that has no more.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.delivery == Delivery::Live
    }

    /// Appends the end of every track.
    pub(super) fn say_goodbye(&mut self, out: &mut Vec<u8>) {
        let out = self.datagrams.as_mut().map_or(out, Datagrams::packets);
        for sender in self.senders.iter().flatten() {
            sender.bye(out);
        }
    }

    /// Playing time at `now`, in 90 kHz ticks.
    fn ticks(&self, now: Instant) -> i64 {
        ticks_from_duration(now.saturating_duration_since(self.began))
    }
}

/// What happened to a session.
pub(super) enum Happened {
    /// The source gave media, or has no more.
    Media(Option<Media>),
    /// The client sent a report over UDP.
    Heard,
}

/// What happens next to a session; `taken` says whether the client has taken all that was sent over the connection.
pub(super) async fn next_event(session: Option<&mut Session>, taken: bool) -> Happened {
    let Some(session) = session else { return std::future::pending().await };
    let wants = session.wants_media(taken);
    let Session { source, datagrams, .. } = session;
    match datagrams {
        None if wants => Happened::Media(source.next().await),
        None => std::future::pending().await,
        Some(datagrams) => tokio::select! {
            // The block keeps the source from being asked for what is not wanted.
            media = async { source.next().await }, if wants => Happened::Media(media),
            () = datagrams.heard() => Happened::Heard,
        },
    }
}

/// The answer to a client over UDP, and the link that it tells of.
pub(super) fn datagram_transport(link: &Link, ssrc: u32) -> Transport {
    Transport {
        lower: LowerTransport::Udp,
        client_port: Some(link.client_port),
        server_port: Some(link.server_port),
        ssrc: Some(ssrc),
        ..Transport::default()
    }
}

#[cfg(test)]
mod tests;
