//! Events of a session, told at most once a minute of each kind; what came in between is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_model::{EventCode, MonoTime};

/// Events of one kind about one session are told at most once in this time.
const EVENT_INTERVAL: Duration = Duration::from_secs(60);

/// When each kind of event was last told, and how often it happened since.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<EventCode, (MonoTime, u32)>);

impl Told {
    /// The sentence to tell for `code` at `now`; `None` when it was told a moment ago: then it is counted, and told with
    /// the next.
    pub(super) fn sentence(&mut self, now: MonoTime, code: EventCode, text: String) -> Option<String> {
        let mut silent_text = None;
        if let Some((last, silent)) = self.0.get_mut(&code) {
            let since = now.since(*last);
            if since < EVENT_INTERVAL {
                *silent = silent.saturating_add(1);
                return None;
            }
            if *silent > 0 {
                silent_text =
                    Some(format!("{text}; {silent} times more since {:.0} s ago", since.as_secs_f64()));
            }
        }
        self.0.insert(code, (now, 0));
        Some(silent_text.unwrap_or(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_two_sentences_a_minute_apart() {
        let mut told = Told::default();
        let at = |seconds: u64| MonoTime::from_nanos(seconds * 1_000_000_000);
        let mut tell = |seconds| told.sentence(at(seconds), EventCode::PacketsLost, "lost".to_owned());
        assert_eq!(tell(0).as_deref(), Some("lost"));
        assert_eq!((1..60).filter_map(&mut tell).count(), 0);
        assert_eq!(tell(60).as_deref(), Some("lost; 59 times more since 60 s ago"));
        assert_eq!(tell(121).as_deref(), Some("lost"));
    }
}
