//! Fetches recorded footage from a camera's card or from another recorder, by RTSP replay (ONVIF Streaming,
//! "Playback").
//!
//! [`keepwatch_recording::fetch::Fetch`] decides: which frame is wanted, when to ask again, and when all is there.
//! This carries it out: it dials, replays, depacketises, hands every frame to the machine and those that are taken to
//! a [`FetchSink`], each once, however often the server breaks off. How the footage is kept is the sink's business.

mod account;
mod control;
mod find;
mod intake;
mod movie;
mod sink;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;

pub use keepwatch_media::replay::RateControl;
use keepwatch_media::replay::{ClockRange, Frames, PlayRequest, Scale};
use keepwatch_model::{Machine as _, MonoTime, Span, SpanSet, TrackConfig};
use keepwatch_recording::fetch::{Action, Attempt, End, Event, Fetch, FetchTrack, Loss};
pub use keepwatch_rtsp::client::ClientConfig;
use keepwatch_rtsp::client::{self, ClientError, EndReason, Session};

pub use account::{FetchAccount, Missing, MissingReason, TrackAccount};
pub use control::{FetchControl, Progress, RATE_MIN};
pub use find::{FindError, Found, Wish, find};
pub use keepwatch_onvif::client::Options as DeviceOptions;
pub use keepwatch_recording::fetch::{End as FetchEnd, GiveUp, Report};
pub use movie::{MovieError, MovieSink};
pub use sink::{Appetite, CountingSink, FetchSink, FetchedSample, Part};

use crate::camera::{Choice, Wanted};
use crate::clock::Clock;
use intake::{Intake, Store};

/// What is to be fetched, and from where.
#[derive(Clone, Debug)]
pub struct FetchOrder {
    /// The address that replays the recording, with the login.
    pub client: ClientConfig,
    /// Which footage, by the clock of who recorded it.
    pub span: Span,
    /// Whether sound is wanted too, where there is some.
    pub audio: bool,
    /// Whether metadata is wanted too, where there is some.
    pub metadata: bool,
    /// As fast as it can be read, or in real time.
    pub pace: RateControl,
    /// Where the server says that it has footage, as [`find()`] tells; `None` when it does not say. A server that falls
    /// silent is asked for the next of them.
    pub sections: Option<SpanSet>,
}

/// Fetches what `order` says into `sink`, until all is there or no more can be had; the account says which.
///
/// Dropping the future ends it without a farewell to the server; [`FetchControl::cancel`] is kinder, and returns the
/// account.
///
/// # Errors
/// Only when the sink refuses a frame.
pub async fn fetch<S: FetchSink>(
    order: &FetchOrder,
    control: &FetchControl,
    sink: &mut S,
) -> Result<FetchAccount, S::Error> {
    let mut machine = Fetch::new(order.span);
    if let Some(sections) = &order.sections {
        machine.expect(sections.clone());
    }
    let driver = Driver {
        order,
        control,
        clock: Clock::new(),
        fetch: machine,
        out: Vec::new(),
        store: Store::default(),
        trouble: None,
    };
    driver.run(sink).await
}

struct Driver<'a> {
    order: &'a FetchOrder,
    control: &'a FetchControl,
    clock: Clock,
    fetch: Fetch,
    out: Vec<Action>,
    store: Store,
    /// Why the last replay could not begin or broke off, in the words of the server or the system.
    trouble: Option<String>,
}

/// A replay that could not begin.
type Refusal = (Loss, String);

impl Driver<'_> {
    async fn run<S: FetchSink>(mut self, sink: &mut S) -> Result<FetchAccount, S::Error> {
        self.fetch.handle(MonoTime::ZERO, Event::Begin, &mut self.out);
        loop {
            let mut asked = None;
            for action in std::mem::take(&mut self.out) {
                match action {
                    Action::Connect { attempt, range } => asked = Some((attempt, range)),
                    // A session that was to end has ended by the time its actions are read.
                    Action::HangUp => {}
                    Action::Over(end) => return Ok(self.account(end)),
                }
            }
            match asked {
                Some((attempt, range)) => self.replay(attempt, range, sink).await?,
                None => self.wait().await,
            }
        }
    }

    /// The time by which the machine judges: it stands still while the sink wants nothing.
    fn now(&self) -> MonoTime {
        self.store.time(self.clock.mono())
    }

    fn tell(&mut self, event: Event) {
        let now = self.now();
        self.fetch.handle(now, event, &mut self.out);
    }

    /// Waits until it is time to ask again.
    async fn wait(&mut self) {
        let wait = self.fetch.deadline().map(|(deadline, _)| deadline.since(self.now()));
        tokio::select! {
            () = self.control.cancelled() => self.tell(Event::Cancel),
            () = tokio::time::sleep(wait.unwrap_or_default()) => {
                let now = self.now();
                self.fetch.timeout(now, &mut self.out);
            }
        }
    }

    /// One replay, from the dial to its end.
    async fn replay<S: FetchSink>(
        &mut self,
        attempt: Attempt,
        range: ClockRange,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        let dialled = tokio::select! {
            () = self.control.cancelled() => {
                self.tell(Event::Cancel);
                return Ok(());
            }
            dialled = dial(self.order, range) => dialled,
        };
        let (session, tracks) = match dialled {
            Ok(dialled) => dialled,
            Err(refusal) => {
                self.refused(attempt, refusal);
                return Ok(());
            }
        };
        if !self.fetch.describe(&tracks.iter().map(fetch_track).collect::<Vec<_>>()) {
            let detail = "the server offers other tracks than before".to_owned();
            self.refused(attempt, (Loss::Refused, detail));
            return Ok(());
        }
        self.tell(Event::Playing { attempt, from: session.played().range.map(|range| range.from) });
        self.store.begin(&tracks, sink)?;
        let Self { control, clock, fetch, out, store, .. } = self;
        control.attach(&session.remote());
        let ended = match Intake::new(&tracks, store, fetch, sink, out, control) {
            Ok(mut intake) => {
                let end = session.run(&mut intake, || clock.mono()).await;
                intake.finish(clock.mono(), &end.reason)?;
                match end.reason {
                    EndReason::Stopped => None,
                    EndReason::EndedByServer => Some((Loss::Closed, end.reason.to_string())),
                    EndReason::Lost(_) | EndReason::Protocol(_) => {
                        Some((Loss::Connection, end.reason.to_string()))
                    }
                }
            }
            Err(error) => Some((Loss::Refused, error.to_string())),
        };
        control.detach();
        if let Some(refusal) = ended {
            self.store.broken_off = self.store.broken_off.saturating_add(1);
            self.refused(attempt, refusal);
        }
        Ok(())
    }

    fn refused(&mut self, attempt: Attempt, (loss, detail): Refusal) {
        tracing::debug!(?loss, %detail, "a replay ended or could not begin");
        self.trouble = Some(detail);
        self.tell(Event::Ended { attempt, loss });
    }

    fn account(&self, end: End) -> FetchAccount {
        let trouble = self.trouble.clone().filter(|_| !matches!(end, End::Complete | End::Cancelled));
        let elapsed = self.clock.mono().since(MonoTime::ZERO);
        account::account(self.order.span, end, (&self.fetch, &self.store), elapsed, trouble)
    }
}

/// Connects, and has `range` played.
async fn dial(order: &FetchOrder, range: ClockRange) -> Result<(Session, Vec<TrackConfig>), Refusal> {
    let refusal = |error: ClientError| (loss_of(&error), error.to_string());
    let described = client::connect(&order.client).await.map_err(refusal)?;
    let offered = &described.presentation().tracks;
    let wanted = Wanted { audio: order.audio, metadata: order.metadata };
    let choice = Choice::of(offered, wanted).map_err(|error| (Loss::Refused, error.to_string()))?;
    let tracks: Vec<TrackConfig> =
        choice.tracks.iter().filter_map(|track| offered.get(*track)?.config.clone().ok()).collect();
    let request = PlayRequest {
        range: Some(range),
        rate_control: order.pace,
        frames: Frames::All,
        immediate: false,
        scale: Scale::NORMAL,
        replay: true,
        cseq: 0,
    };
    let session = described.replay(&choice.tracks, &request).await.map_err(refusal)?;
    Ok((session, tracks))
}

fn fetch_track(config: &TrackConfig) -> FetchTrack {
    FetchTrack { clock_rate: config.clock_rate, steady: config.kind.is_video() }
}

/// What an error means for the fetch: whether asking again may help.
const fn loss_of(error: &ClientError) -> Loss {
    match error {
        ClientError::InvalidRange => Loss::NoFootage,
        ClientError::Unreachable(_)
        | ClientError::TimedOut(_)
        | ClientError::Ended { .. }
        | ClientError::Tls(_)
        | ClientError::Ports(_)
        | ClientError::Busy
        // A server whose sessions are all taken says so in as many ways; one that broke off may not be over yet.
        | ClientError::Refused { status: 408 | 453 | 454 | 455 | 500 | 502..=504, .. } => Loss::Connection,
        ClientError::Refused { .. }
        | ClientError::TransportRefused { .. }
        | ClientError::ReplayUnsupported { .. }
        | ClientError::Certificate { .. }
        | ClientError::Redirected { .. }
        | ClientError::Url(_)
        | ClientError::Unauthorized(_)
        | ClientError::Protocol { .. }
        | ClientError::NoUsableTrack(_) => Loss::Refused,
    }
}
