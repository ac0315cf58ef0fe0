//! What is wrong at this node, in words, and since when.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_model::{EventCode, Subject, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::edge::fill::percent;
use keepwatch_recording::edge::health::{Alarm, Change, Found, Health};
use keepwatch_recording::edge::overload::Cause;

/// An alarm that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raised {
    pub(crate) alarm: Alarm,
    pub(crate) since: WallTime,
    pub(crate) text: String,
}

/// The alarms that stand.
#[derive(Debug, Default)]
pub(crate) struct Alarms(BTreeMap<Alarm, WallTime>);

impl Alarms {
    /// Takes what changed; returns the events of it.
    pub(crate) fn take(
        &mut self,
        now: WallTime,
        changes: &[Change],
        found: &Found,
        health: &Health,
    ) -> Vec<(EventCode, Subject, String)> {
        let mut events = Vec::new();
        for Change { alarm, on } in changes {
            if *on {
                self.0.insert(*alarm, now);
                events.push((code(*alarm), subject(*alarm), sentence(*alarm, found, health)));
            } else if let Some(since) = self.0.remove(alarm) {
                let text = format!("{}; it was so since {since}", clear(*alarm));
                events.push((EventCode::EdgeAlarmCleared, subject(*alarm), text));
            }
        }
        events
    }

    /// Those that stand, as they are now.
    pub(crate) fn standing(&self, found: &Found, health: &Health) -> Vec<Raised> {
        let raised = |(alarm, since): (&Alarm, &WallTime)| Raised {
            alarm: *alarm,
            since: *since,
            text: sentence(*alarm, found, health),
        };
        self.0.iter().map(raised).collect()
    }
}

const fn code(alarm: Alarm) -> EventCode {
    match alarm {
        Alarm::Fill => EventCode::EdgeBufferFilling,
        Alarm::OverflowAhead => EventCode::EdgeOverflowAhead,
        Alarm::Clock => EventCode::EdgeClockOff,
        Alarm::Overload(_) => EventCode::EdgeOverloaded,
        Alarm::NeverDepletes(_) => EventCode::EdgeNeverDepletes,
    }
}

fn subject(alarm: Alarm) -> Subject {
    match alarm {
        Alarm::Fill | Alarm::OverflowAhead | Alarm::Clock => Subject::Node,
        Alarm::Overload(line) | Alarm::NeverDepletes(line) => Subject::Camera(line.0),
    }
}

fn sentence(alarm: Alarm, found: &Found, health: &Health) -> String {
    match alarm {
        Alarm::Fill => {
            let (megabytes, room) = (found.waiting_bytes / 1_000_000, found.room_bytes / 1_000_000);
            let percent = percent(found.waiting_bytes, found.room_bytes);
            let within = health.overflows_in().map_or_else(
                || "it does not grow at the moment".to_owned(),
                |within| format!("in {} the oldest of it is overwritten", time(within)),
            );
            format!(
                "{megabytes} of {room} MB of local storage, {percent} %, are footage that is not outside; {within}; look at the line, the recorder and the limits"
            )
        }
        Alarm::OverflowAhead => {
            let within = health.overflows_in().unwrap_or_default();
            format!(
                "at the present rates, footage is overwritten in {} that is not outside; bring the recorder back, raise the limits, or lower the bit rates",
                time(within)
            )
        }
        Alarm::Clock => {
            let ahead = found.ahead_ticks.unwrap_or_default();
            let seconds = ahead.unsigned_abs() / TICKS_PER_SECOND.unsigned_abs();
            let which = if ahead >= 0 { "ahead of" } else { "behind" };
            format!(
                "the clock of the external storage is {seconds} s {which} the one of this node; footage is moved by it; let both ask the same time server"
            )
        }
        Alarm::Overload(line) => {
            let line = health.line(&line);
            let why = line.cause.map_or("", because);
            let megabits = |bits: u64| bits / 100_000;
            let (recorded, sent) = (megabits(line.recorded_bits_per_second), megabits(line.sent_bits_per_second));
            format!(
                "it falls behind: {}.{} Mbit/s are recorded and {}.{} sent; {why}",
                recorded / 10,
                recorded % 10,
                sent / 10,
                sent % 10
            )
        }
        Alarm::NeverDepletes(_) => {
            "with its limits, footage that was left out never leaves; raise its speed above 100 %, and rate and write throttle above what is recorded"
                .to_owned()
        }
    }
}

const fn clear(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::Fill => "all clear: local storage holds little that is not outside",
        Alarm::OverflowAhead => "no footage is overwritten soon that is not outside",
        Alarm::Clock => "the clocks of this node and of the external storage agree again",
        Alarm::Overload(_) => "it keeps up again",
        Alarm::NeverDepletes(_) => "its limits let more leave than is recorded",
    }
}

/// Why a line falls behind, and what to do.
pub(crate) const fn because(cause: Cause) -> &'static str {
    match cause {
        Cause::Limit => "its speed or rate limit is below what is recorded: raise it",
        Cause::Encoder => {
            "the camera sends more than usual, as more moves before it or its quality was raised: raise the limit, or lower the camera's bit rate"
        }
        Cause::Throttle => "the write throttle of the node is below what is recorded: raise write_rate_max",
        Cause::Network => "the network, or the storage behind it, takes less than is recorded",
        Cause::Playback => {
            "footage of this node is played here, which takes the reads: play it at the recorder"
        }
        Cause::Processor => "something else takes the processor of this node",
        Cause::Storage => "local storage cannot be read so fast: look at its health",
    }
}

/// The cause as a word of the API.
pub(crate) const fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::Limit => "limit",
        Cause::Encoder => "encoder",
        Cause::Throttle => "throttle",
        Cause::Network => "network",
        Cause::Playback => "playback",
        Cause::Processor => "processor",
        Cause::Storage => "storage",
    }
}

fn time(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match minutes {
        0 => format!("{} s", time.as_secs()),
        1..120 => format!("{minutes} min"),
        _ => format!("{} h", minutes / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepwatch_model::MonoTime;
    use keepwatch_recording::edge::fill::Thresholds;

    #[test]
    fn an_alarm_says_how_much_since_when_and_what_to_do() {
        let (mut health, mut alarms) = (Health::default(), Alarms::default());
        let full =
            Found { waiting_bytes: 950_000_000, room_bytes: 1_000_000_000, takes: true, ..Found::default() };
        let at = WallTime::from_ticks(90_000);
        let changes = health.look(MonoTime::ZERO, Thresholds::default(), &full);
        let events = alarms.take(at, &changes, &full, &health);
        let (code, subject, text) = events.first().unwrap();
        assert_eq!((*code, subject), (EventCode::EdgeBufferFilling, &Subject::Node));
        assert!(text.starts_with("950 of 1000 MB of local storage, 95 %,"), "{text}");
        assert_eq!(alarms.standing(&full, &health).first().unwrap().since, at);
        let empty = Found { waiting_bytes: 0, ..full };
        let changes = health.look(MonoTime::ZERO, Thresholds::default(), &empty);
        let events = alarms.take(at.plus(90_000), &changes, &empty, &health);
        assert_eq!(events.first().unwrap().0, EventCode::EdgeAlarmCleared);
        assert!(events.first().unwrap().2.ends_with(&format!("since {at}")), "{events:?}");
        assert!(alarms.standing(&empty, &health).is_empty());
    }

    #[test]
    fn times_are_told_as_people_say_them() {
        let told: Vec<String> =
            [59, 60, 7_199, 7_200, 90_000].map(|seconds| time(Duration::from_secs(seconds))).into();
        assert_eq!(told, ["59 s", "1 min", "119 min", "2 h", "25 h"]);
    }
}
