//! How a camera is recorded on alarm, and the words for it.

use std::time::Duration;

use keepwatch_onvif::notification::{Kind, Notification};

use super::text::{Complaint, quoted};
use super::units;

/// Longest time before an alarm that is recorded with it: what waits in memory.
const PRE_MAX: Duration = Duration::from_secs(300);
/// Shortest and longest time behind an alarm: with less, a camera that flickers fills the event log.
const POST_MIN: Duration = Duration::from_secs(5);
/// See [`POST_MIN`].
const POST_MAX: Duration = Duration::from_secs(3_600);
/// Most entries of `alarm_on`.
const TRIGGERS_MAX: usize = 32;
/// Longest topic, as for what a camera tells.
const TOPIC_BYTES_MAX: usize = 256;

/// How a camera is recorded on alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmConfig {
    /// How much of the time before an alarm is recorded with it, from a key frame on.
    pub pre: Duration,
    /// How long it is recorded behind the last trigger.
    pub post: Duration,
    /// What triggers it; distinct, at least one.
    pub on: Vec<Trigger>,
}

/// What triggers an alarm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// The camera reports motion.
    Motion,
    /// It recognises something: in a field, across a line, a person, a vehicle.
    Object,
    /// A digital input of it.
    Input,
    /// It is covered, turned, blinded or put out of focus.
    Tamper,
    /// It gets no picture from its source.
    SignalLoss,
    /// Somebody raises an alarm over the API or the command line.
    Api,
    /// It reports what is of this topic or below it, without prefixes.
    Topic(String),
}

impl Trigger {
    /// What a word or a topic of `alarm_on` says.
    pub(super) fn read(text: &str) -> Result<Self, Complaint> {
        match text {
            "motion" => Ok(Self::Motion),
            "object" => Ok(Self::Object),
            "input" => Ok(Self::Input),
            "tamper" => Ok(Self::Tamper),
            "signal_loss" => Ok(Self::SignalLoss),
            "api" => Ok(Self::Api),
            _ if text.contains('/') && text.len() <= TOPIC_BYTES_MAX && !text.contains(char::is_control) => {
                Ok(Self::Topic(keepwatch_onvif::notification::topic(text)))
            }
            _ => Err(Complaint::new(
                format!("{} triggers no alarm", quoted(text)),
                "write \"motion\", \"object\", \"input\", \"tamper\", \"signal_loss\", \"api\", or a topic of the camera \
                 like \"RuleEngine/LineDetector/Crossed\"",
            )),
        }
    }

    /// The word or topic.
    pub(crate) fn show(&self) -> &str {
        match self {
            Self::Motion => "motion",
            Self::Object => "object",
            Self::Input => "input",
            Self::Tamper => "tamper",
            Self::SignalLoss => "signal_loss",
            Self::Api => "api",
            Self::Topic(topic) => topic,
        }
    }

    /// Whether it is what `notification` tells of.
    fn is(&self, notification: &Notification) -> bool {
        let kind = notification.kind();
        match self {
            Self::Motion => kind == Some(Kind::Motion),
            Self::Object => kind == Some(Kind::Object),
            Self::Input => kind == Some(Kind::Input),
            Self::Tamper => kind == Some(Kind::Tamper),
            Self::SignalLoss => kind == Some(Kind::SignalLoss),
            Self::Api => false,
            Self::Topic(topic) => {
                let below = notification.topic.strip_prefix(topic.as_str());
                below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

impl Default for AlarmConfig {
    /// What holds where nothing is said.
    fn default() -> Self {
        Self {
            pre: Duration::from_secs(10),
            post: Duration::from_secs(30),
            on: vec![Trigger::Motion, Trigger::Object, Trigger::Input, Trigger::Api],
        }
    }
}

impl AlarmConfig {
    /// Whether `notification` triggers an alarm, or ends what did.
    pub(crate) fn is_triggered_by(&self, notification: &Notification) -> bool {
        self.on.iter().any(|trigger| trigger.is(notification))
    }

    /// Whether somebody may raise an alarm.
    pub fn takes_calls(&self) -> bool {
        self.on.contains(&Trigger::Api)
    }

    /// Whether anything that the camera itself says triggers one.
    pub fn listens(&self) -> bool {
        self.on.iter().any(|trigger| *trigger != Trigger::Api)
    }
}

/// The time before an alarm.
pub(super) fn pre(text: &str) -> Result<Duration, Complaint> {
    let read = units::duration(text)?;
    if read > PRE_MAX {
        let remedy = "it waits in memory: write at most \"5 min\"";
        return Err(Complaint::new(format!("{} is too much", quoted(text)), remedy));
    }
    Ok(read)
}

/// The time behind an alarm.
pub(super) fn post(text: &str) -> Result<Duration, Complaint> {
    let read = units::duration(text)?;
    if !(POST_MIN..=POST_MAX).contains(&read) {
        let remedy = "write \"5 s\" to \"1 h\"";
        return Err(Complaint::new(format!("{} is too little or too much", quoted(text)), remedy));
    }
    Ok(read)
}

/// Whether a list of so many triggers is too long to be one.
pub(super) fn check_count(count: usize) -> Result<(), Complaint> {
    if count > TRIGGERS_MAX {
        let what = format!("alarm_on has more than {TRIGGERS_MAX} entries");
        return Err(Complaint::new(what, "name a topic above those that belong together"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(topic: &str) -> Notification {
        Notification { topic: topic.to_owned(), ..Notification::default() }
    }

    #[test]
    fn words_and_topics_come_back_and_say_what_they_hear() {
        for text in ["motion", "object", "input", "tamper", "signal_loss", "api", "Device/Trigger"] {
            assert_eq!(Trigger::read(text).unwrap().show(), text);
        }
        assert_eq!(
            Trigger::read("tns1:Device/tns1:Trigger").unwrap(),
            Trigger::Topic("Device/Trigger".to_owned())
        );
        for text in ["", "noise", "a/\n", &format!("a/{}", "b".repeat(300))] {
            assert!(Trigger::read(text).is_err(), "{text:?}");
        }
        let usual = AlarmConfig::default();
        assert!(usual.is_triggered_by(&told("VideoSource/MotionAlarm")) && usual.takes_calls());
        assert!(!usual.is_triggered_by(&told("VideoSource/GlobalSceneChange/ImagingService")));
        let inputs = AlarmConfig { on: vec![Trigger::Topic("Device/Trigger".to_owned())], ..usual };
        assert!(inputs.is_triggered_by(&told("Device/Trigger/DigitalInput")) && inputs.listens());
        assert!(!inputs.is_triggered_by(&told("Device/Triggers")) && !inputs.takes_calls());
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(pre("0 s"), Ok(Duration::ZERO));
        assert_eq!((pre("5 min"), post("5 s"), post("1 h")), (Ok(PRE_MAX), Ok(POST_MIN), Ok(POST_MAX)));
        assert!(pre("301 s").is_err() && post("4999 ms").is_err() && post("61 min").is_err());
    }
}
