//! Whether a line keeps up with its recording, and what is short when it does not.

use std::time::Duration;

use keepwatch_model::MonoTime;

/// What a line waits for with footage that is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// The transfer is stopped.
    Stopped,
    /// The limit of the line.
    Limit,
    /// The write throttle of the node.
    Throttle,
    /// What is on its way: the network, or the storage behind it.
    Network,
    /// Reading it.
    Reading,
}

/// Why a line falls behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The limit of the line is below what is recorded.
    Limit,
    /// The limit would do, but the camera sends more than it does on average: more moves before it, or its quality was set higher.
    Encoder,
    /// The write throttle of the node is below what is recorded.
    Throttle,
    /// The network, or the storage behind it, takes less than is recorded.
    Network,
    /// Somebody plays footage of this node, which takes the reads.
    Playback,
    /// Something else takes the processor.
    Processor,
    /// Local storage cannot be read so fast.
    Storage,
}

/// What is short beside what a line waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The camera sends more than a quarter above its mean of an hour.
    pub encoder_high: bool,
    /// Somebody plays footage of this node.
    pub playing: bool,
    /// More is ready to run than there are processors.
    pub processor_busy: bool,
}

/// For so long a line falls behind before it is told, and for so long it does not before it is told to keep up.
const SUSTAINED: Duration = Duration::from_secs(60);
/// A backlog that grows less in that time is no more than records that come in one piece.
const GROWTH_TICKS_MIN: i64 = 2 * keepwatch_model::TICKS_PER_SECOND;

/// Watches one line.
#[derive(Clone, Debug)]
pub struct Overload {
    /// The backlog at the begin of the stretch that is looked at, and when that was.
    begun: (MonoTime, i64),
    /// How often each was waited for since.
    waited: [(Wait, u32); 5],
    cause: Option<Cause>,
}

impl Overload {
    /// Looked at from `now` on.
    pub const fn new(now: MonoTime) -> Self {
        let waits = [
            (Wait::Stopped, 0),
            (Wait::Limit, 0),
            (Wait::Throttle, 0),
            (Wait::Network, 0),
            (Wait::Reading, 0),
        ];
        Self { begun: (now, 0), waited: waits, cause: None }
    }

    /// Why the line falls behind; `None` while it keeps up.
    pub const fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// The line has a backlog of so many ticks and waits. Without an external storage that takes records, say so by
    /// [`pause`](Self::pause) instead.
    pub fn look(&mut self, now: MonoTime, backlog_ticks: i64, waits: Option<Wait>, load: Load) {
        for (wait, times) in &mut self.waited {
            *times += u32::from(waits == Some(*wait));
        }
        let (since, before) = self.begun;
        if now.since(since) < SUSTAINED {
            return;
        }
        let grows = backlog_ticks.saturating_sub(before) >= GROWTH_TICKS_MIN;
        let most = self.waited.iter().max_by_key(|(_, times)| *times).filter(|(_, times)| *times > 0);
        self.cause = match (grows, most) {
            (true, Some((wait, _))) => cause(*wait, load),
            // It grows, and waits for nothing that is known here.
            (true, None) => Some(if load.playing { Cause::Playback } else { Cause::Processor }),
            (false, _) => None,
        };
        *self = Self { begun: (now, backlog_ticks), cause: self.cause, ..Self::new(now) };
    }

    /// Nothing can leave, whatever is short.
    pub fn pause(&mut self, now: MonoTime, backlog_ticks: i64) {
        *self = Self { begun: (now, backlog_ticks), ..Self::new(now) };
    }
}

/// `None` when it was stopped on purpose, which is told as what can never deplete.
const fn cause(wait: Wait, load: Load) -> Option<Cause> {
    Some(match wait {
        Wait::Stopped => return None,
        Wait::Limit if load.encoder_high => Cause::Encoder,
        Wait::Limit => Cause::Limit,
        Wait::Throttle => Cause::Throttle,
        Wait::Network => Cause::Network,
        Wait::Reading if load.playing => Cause::Playback,
        Wait::Reading if load.processor_busy => Cause::Processor,
        Wait::Reading => Cause::Storage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = keepwatch_model::TICKS_PER_SECOND;

    fn at(second: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_secs(second)
    }

    /// Looks each second for `seconds`, with a backlog that grows by `growth` ticks in each.
    fn watched(growth: i64, seconds: u64, waits: impl Fn(u64) -> Option<Wait>, load: Load) -> Option<Cause> {
        let mut overload = Overload::new(at(0));
        for second in 1..=seconds {
            let backlog = growth * i64::try_from(second).unwrap();
            overload.look(at(second), backlog, waits(second), load);
        }
        overload.cause()
    }

    #[test]
    fn what_was_waited_for_most_is_the_cause() {
        let quiet = Load::default();
        let busy = Load { processor_busy: true, ..quiet };
        let playing = Load { playing: true, processor_busy: true, ..quiet };
        let high = Load { encoder_high: true, ..quiet };
        for (wait, load, cause) in [
            (Wait::Limit, quiet, Some(Cause::Limit)),
            (Wait::Limit, high, Some(Cause::Encoder)),
            (Wait::Throttle, quiet, Some(Cause::Throttle)),
            (Wait::Network, playing, Some(Cause::Network)),
            (Wait::Reading, quiet, Some(Cause::Storage)),
            (Wait::Reading, busy, Some(Cause::Processor)),
            (Wait::Reading, playing, Some(Cause::Playback)),
            (Wait::Stopped, quiet, None),
        ] {
            let waits =
                |second: u64| if second.is_multiple_of(3) { Some(Wait::Throttle) } else { Some(wait) };
            assert_eq!(watched(SECOND, 60, waits, load), cause, "{wait:?} {load:?}");
        }
        assert_eq!(watched(SECOND, 60, |_| None, playing), Some(Cause::Playback));
    }

    #[test]
    fn a_line_is_behind_when_it_falls_back_for_a_minute_and_not_before() {
        let limit = |_| Some(Wait::Limit);
        assert_eq!(watched(SECOND, 59, limit, Load::default()), None);
        assert_eq!(
            watched(0, 600, limit, Load::default()),
            None,
            "a backlog that stays is not one that grows"
        );
        assert_eq!(watched(-SECOND, 600, limit, Load::default()), None);
    }

    #[test]
    fn it_is_clear_when_the_backlog_shrinks_and_nothing_is_said_while_nothing_can_leave() {
        let mut overload = Overload::new(at(0));
        let mut backlog = 0;
        for second in 1..=120 {
            backlog += SECOND;
            overload.look(at(second), backlog, Some(Wait::Network), Load::default());
        }
        assert_eq!(overload.cause(), Some(Cause::Network));
        for second in 121..=180 {
            backlog -= SECOND;
            overload.look(at(second), backlog, Some(Wait::Network), Load::default());
        }
        assert_eq!(overload.cause(), None);
        for second in 181..=600 {
            backlog += SECOND;
            overload.pause(at(second), backlog);
        }
        overload.look(at(601), backlog, None, Load::default());
        assert_eq!(overload.cause(), None, "the absence is not its fault");
    }
}
