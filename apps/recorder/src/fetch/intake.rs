//! The way of a replay's packets to the sink: depacketised, judged by the machine, handed on.
//!
//! This is the hot loop's handler: a packet costs a parse and a copy, a sample a judgement and whatever the sink does.

use std::time::Duration;

use keepwatch_media::depacketize::{ConfigError, Depacketizer, Sample};
use keepwatch_media::rtp::RtpPacket;
use keepwatch_model::{Flow, Machine as _, MonoTime, PacketHandler, Span, TrackConfig, WallTime};
use keepwatch_recording::fetch::{Action, Event, Fetch, FetchFrame, Verdict};
use keepwatch_rtsp::client::EndReason;

use super::account::TrackAccount;
use super::control::{FetchControl, Progress};
use super::sink::{Appetite, FetchSink, FetchedSample, Part};

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Over how long the rate is measured.
const RATE_INTERVAL: Duration = Duration::from_secs(1);
/// Losses on the way whose place is kept in mind; after so many the connection is known to be bad.
const LOSSES_MAX: usize = 4096;

/// What outlives one replay.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Of each track; empty before the first replay.
    pub(super) tracks: Vec<TrackState>,
    pub(super) bytes: u64,
    pub(super) samples: u64,
    /// Where packets of the first track were lost: from the frame before to the one behind.
    pub(super) losses: Vec<Span>,
    /// Replays that ended without being asked to.
    pub(super) broken_off: u64,
    /// Packets that could not be understood.
    pub(super) bad_packets: u64,
    /// How long the sink was full, so far and since when it is.
    held: Duration,
    held_since: Option<MonoTime>,
    /// When progress was told, and the rate by then.
    told: Option<MonoTime>,
    rate: Rate,
}

/// What is known of a track.
#[derive(Debug)]
pub(super) struct TrackState {
    config: TrackConfig,
    latest: Option<WallTime>,
    pub(super) account: TrackAccount,
}

/// Bytes in a second.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    since: MonoTime,
    bytes: u64,
    per_second: u64,
}

impl Store {
    /// A replay begins.
    pub(super) fn begin<S: FetchSink>(
        &mut self,
        tracks: &[TrackConfig],
        sink: &mut S,
    ) -> Result<(), S::Error> {
        if self.tracks.is_empty() {
            sink.begin(tracks)?;
            let state = |config: &TrackConfig| TrackState {
                config: config.clone(),
                latest: None,
                account: TrackAccount::new(config.kind),
            };
            self.tracks = tracks.iter().map(state).collect();
        }
        for (state, config) in self.tracks.iter_mut().zip(tracks) {
            // The stream tells what the description leaves out.
            if !config.config.is_empty() {
                state.config.clone_from(config);
            }
        }
        Ok(())
    }

    /// The time by which the machine judges, at `now`: it stands still while the sink is full.
    pub(super) fn time(&self, now: MonoTime) -> MonoTime {
        let held = self.held.saturating_add(self.held_since.map_or(Duration::ZERO, |since| now.since(since)));
        let held = u64::try_from(held.as_nanos()).unwrap_or(u64::MAX);
        MonoTime::from_nanos(now.as_nanos().saturating_sub(held))
    }

    fn hold(&mut self, now: MonoTime, full: bool) {
        if full {
            self.held_since.get_or_insert(now);
        } else if let Some(since) = self.held_since.take() {
            self.held = self.held.saturating_add(now.since(since));
        }
    }

    /// How far it is, when it is time to tell.
    fn progress(&mut self, now: MonoTime, fetch: &Fetch) -> Option<Progress> {
        if self.told.is_some_and(|told| now.since(told) < PROGRESS_INTERVAL) {
            return None;
        }
        self.told = Some(now);
        let passed = now.since(self.rate.since);
        if passed >= RATE_INTERVAL {
            let bytes = u128::from(self.bytes.saturating_sub(self.rate.bytes));
            let per_second = bytes.saturating_mul(1_000_000_000) / passed.as_nanos().max(1);
            let per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
            self.rate = Rate { since: now, bytes: self.bytes, per_second };
        }
        Some(Progress {
            samples: self.samples,
            bytes: self.bytes,
            position: fetch.reached(),
            attempts: fetch.report().attempts,
            bytes_per_s: self.rate.per_second,
        })
    }
}

/// The handler of one replay.
pub(super) struct Intake<'a, S: FetchSink> {
    depacketizers: Vec<Depacketizer>,
    taker: Taker<'a, S>,
    out: &'a mut Vec<Action>,
    control: &'a FetchControl,
}

/// Judges samples and hands on those that are taken.
struct Taker<'a, S: FetchSink> {
    store: &'a mut Store,
    fetch: &'a mut Fetch,
    sink: &'a mut S,
    /// Whether this replay brought anything that was taken.
    took: bool,
    /// What the sink said; it is not asked again.
    error: Option<S::Error>,
}

impl<'a, S: FetchSink> Intake<'a, S> {
    /// The handler of a replay of `tracks`.
    pub(super) fn new(
        tracks: &[TrackConfig],
        store: &'a mut Store,
        fetch: &'a mut Fetch,
        sink: &'a mut S,
        out: &'a mut Vec<Action>,
        control: &'a FetchControl,
    ) -> Result<Self, ConfigError> {
        let depacketizers = tracks.iter().map(Depacketizer::new).collect::<Result<_, _>>()?;
        Ok(Self {
            depacketizers,
            taker: Taker { store, fetch, sink, took: false, error: None },
            out,
            control,
        })
    }

    /// Ends the replay.
    ///
    /// # Errors
    /// What the sink refused with.
    pub(super) fn finish(mut self, now: MonoTime, reason: &EndReason) -> Result<(), S::Error> {
        if matches!(reason, EndReason::EndedByServer) {
            self.flush(now);
        }
        self.taker.store.hold(now, false);
        self.taker.error.map_or(Ok(()), Err)
    }

    /// Hands over what may be the last frame of the footage, where nothing behind it says that it is whole.
    ///
    /// It may as well have been cut off. So it is believed only when the replay brought nothing else: then it has ended
    /// there twice.
    fn flush(&mut self, now: MonoTime) {
        if self.taker.took {
            return;
        }
        let now = self.taker.store.time(now);
        for (track, depacketizer) in self.depacketizers.iter_mut().enumerate() {
            depacketizer.flush(&mut |sample| self.taker.sample(now, track, &sample));
        }
    }

    /// Lets the machine look at the time.
    fn look(&mut self, now: MonoTime) {
        if self.control.is_cancelled() {
            let now = self.taker.store.time(now);
            self.taker.fetch.handle(now, Event::Cancel, self.out);
            return;
        }
        let at = self.taker.store.time(now);
        if self.taker.fetch.deadline().is_some_and(|(deadline, _)| deadline <= at) {
            self.flush(now);
            self.taker.fetch.timeout(at, self.out);
        }
    }
}

impl<S: FetchSink> PacketHandler for Intake<'_, S> {
    fn rtp(&mut self, now: MonoTime, track: usize, packet: &[u8]) {
        let Some(depacketizer) = self.depacketizers.get_mut(track) else { return };
        let now = self.taker.store.time(now);
        let understood = RtpPacket::parse(packet).is_ok_and(|packet| {
            depacketizer.push(&packet, &mut |sample| self.taker.sample(now, track, &sample)).is_ok()
        });
        if understood {
            self.taker.fetch.stir(now);
        } else {
            self.taker.store.bad_packets = self.taker.store.bad_packets.saturating_add(1);
        }
    }

    fn rtcp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {}

    fn idle(&mut self, now: MonoTime) -> Flow {
        if self.taker.error.is_none() && !self.control.is_cancelled() {
            match self.taker.sink.appetite() {
                Ok(appetite) => {
                    let full = appetite == Appetite::Full;
                    self.taker.store.hold(now, full);
                    self.control.hold(full);
                }
                Err(error) => self.taker.error = Some(error),
            }
        }
        self.look(now);
        if let Some(progress) = self.taker.store.progress(now, self.taker.fetch) {
            self.control.publish(progress);
        }
        // All that the machine asks for while it plays is to hang up.
        if self.taker.error.is_some() || !self.out.is_empty() { Flow::Stop } else { Flow::Continue }
    }
}

impl<S: FetchSink> Taker<'_, S> {
    fn sample(&mut self, now: MonoTime, track: usize, sample: &Sample<'_>) {
        let Some(state) = self.store.tracks.get_mut(track) else { return };
        if let Some(config) = sample.config_changed {
            state.config.clone_from(config);
        }
        if self.error.is_some() {
            return;
        }
        let verdict = self.fetch.frame(
            now,
            &FetchFrame {
                track,
                mark: sample.mark,
                timestamp: sample.timestamp,
                key: sample.key,
                lost: sample.lost_packets,
            },
        );
        let (time, part) = match verdict {
            Verdict::Take { time } => (time, Part::Wanted),
            // Asked again, the server leads in again; what is there already needs no lead.
            Verdict::Lead { time } if state.latest.is_none() => (time, Part::Lead),
            Verdict::Lead { .. } | Verdict::Repeated | Verdict::Beyond | Verdict::Ignored => return,
        };
        if part == Part::Wanted {
            self.took = true;
            let before = state.latest.replace(time);
            if track == 0 && sample.lost_packets > 0 && self.store.losses.len() < LOSSES_MAX {
                self.store.losses.extend(before.and_then(|before| Span::new(before, time)));
            }
            let bytes = u64::try_from(sample.data.len()).unwrap_or(u64::MAX);
            state.account.samples = state.account.samples.saturating_add(1);
            state.account.bytes = state.account.bytes.saturating_add(bytes);
            self.store.samples = self.store.samples.saturating_add(1);
            self.store.bytes = self.store.bytes.saturating_add(bytes);
        }
        let fetched = FetchedSample {
            track,
            config: &state.config,
            part,
            time,
            key: sample.key,
            lost_packets: sample.lost_packets,
            data: sample.data,
        };
        if let Err(error) = self.sink.sample(&fetched) {
            self.error = Some(error);
        }
    }
}
