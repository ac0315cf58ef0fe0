//! What devices report: the one message of WS-BaseNotification that ONVIF fills (Core §9), from a pull point or from a
//! metadata stream, and what the usual topics mean.
//!
//! Names of topics differ by maker and firmware; a topic that is not known here is still a notification.

#[cfg(test)]
mod tests;

use keepwatch_model::WallTime;

use crate::lexical;
use crate::xml::{Element, Writer, local_name};

/// Longest topic, name or value that is kept, in bytes: these end up in logs. The longest usual topic has about sixty.
const TEXT_BYTES_MAX: usize = 256;

/// Items of one kind that are kept of one message; rules send fewer than ten.
const ITEMS_MAX: usize = 32;

/// What happened to the property that a message is about (Core §9.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is told for the first time: this is how it was when the subscription began.
    Initialized,
    /// It changed.
    Changed,
    /// It is no more, for the rule or input that had it was removed.
    Deleted,
}

impl Operation {
    /// Its name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialized => "Initialized",
            Self::Changed => "Changed",
            Self::Deleted => "Deleted",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Initialized, Self::Changed, Self::Deleted]
            .into_iter()
            .find(|operation| operation.as_str().eq_ignore_ascii_case(text.trim()))
    }
}

/// One message of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// The path of its topic without prefixes: `RuleEngine/CellMotionDetector/Motion`.
    pub topic: String,
    /// When it happened, by the device's clock.
    pub time: WallTime,
    /// What it is about, names and values: `("VideoSourceConfigurationToken", "1")`. The items of a key, which tell
    /// several properties of one source apart, follow.
    pub source: Vec<(String, String)>,
    /// What it says, names and values: `("IsMotion", "true")`.
    pub data: Vec<(String, String)>,
    /// What happened to the property; `None` for a mere event.
    pub operation: Option<Operation>,
}

/// What a topic means to a recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Something moves.
    Motion,
    /// Something was recognised: in a field, across a line, a person, a vehicle.
    Object,
    /// The camera was covered, turned, blinded or put out of focus.
    Tamper,
    /// The camera gets no picture from its source.
    SignalLoss,
    /// A digital input changed.
    Input,
}

/// What a notification says of its [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is so now.
    Active,
    /// It is not so any more.
    Inactive,
    /// It happened, and has no end.
    Momentary,
}

impl Notification {
    /// All notifications that stand directly in `parent`: a `PullMessagesResponse`, a `Notify` or a `tt:Event`. `now` is
    /// the time of those that do not say theirs in a readable way.
    pub fn all_in(parent: &Element, now: WallTime) -> impl Iterator<Item = Self> {
        parent.children("NotificationMessage").filter_map(move |element| Self::read(element, now))
    }

    /// Reads what stands in a `wsnt:NotificationMessage`; `None` when it has no topic or no message. `now` is its time when
    /// it does not say so in a readable way.
    pub fn read(element: &Element, now: WallTime) -> Option<Self> {
        let topic = topic(element.text_at(&["Topic"])?);
        let outer = element.child("Message")?;
        // Some devices leave out the inner of the two.
        let message = outer.child("Message").unwrap_or(outer);
        let mut source = items(message.child("Source"));
        source.extend(items(message.child("Key")));
        Some(Self {
            topic,
            time: message.attribute("UtcTime").and_then(lexical::parse_date_time).unwrap_or(now),
            source,
            data: items(message.child("Data")),
            operation: message.attribute("PropertyOperation").and_then(Operation::parse),
        })
    }

    /// Writes the content of a `wsnt:NotificationMessage`, topic and message, with the prefixes of
    /// [`soap::write`](crate::soap::write).
    pub fn write(&self, writer: &mut Writer) {
        let dialect = [("Dialect", DIALECT_CONCRETE_SET)];
        writer.leaf_with("wsnt:Topic", &dialect, &format!("tns1:{}", self.topic));
        writer.within("wsnt:Message", |writer| {
            let time = lexical::date_time(self.time);
            let mut attributes = vec![("UtcTime", time.as_str())];
            attributes.extend(self.operation.map(|operation| ("PropertyOperation", operation.as_str())));
            writer.element("tt:Message", &attributes, |writer| {
                for (name, items) in [("tt:Source", &self.source), ("tt:Data", &self.data)] {
                    writer.within(name, |writer| {
                        for (name, value) in items {
                            writer.empty("tt:SimpleItem", &[("Name", name), ("Value", value)]);
                        }
                    });
                }
            });
        });
    }

    /// What its topic means; `None` when it is not one of the usual.
    pub fn kind(&self) -> Option<Kind> {
        let mut parts = self.topic.split('/');
        let root = parts.next()?;
        let rule = parts.next()?;
        let last = self.topic.rsplit('/').next()?;
        match (root, rule) {
            ("VideoSource", "MotionAlarm") => Some(Kind::Motion),
            ("VideoSource", "SignalLoss" | "ConnectionFailed") => Some(Kind::SignalLoss),
            ("VideoSource", "GlobalSceneChange" | "ImageTooBlurry" | "ImageTooDark" | "ImageTooBright") => {
                Some(Kind::Tamper)
            }
            ("VideoSource" | "VideoAnalytics", "Motion" | "MotionDetection") => Some(Kind::Motion),
            ("Device", "Trigger") if matches!(last, "DigitalInput" | "Input") => Some(Kind::Input),
            ("RuleEngine", "TamperDetector") => Some(Kind::Tamper),
            ("RuleEngine", _) if last == "Tamper" => Some(Kind::Tamper),
            // TP-Link reports people under the detector of motion, so the last part decides.
            ("RuleEngine", _) if matches!(last, "Motion" | "MotionAlarm" | "MotionDetection") => {
                Some(Kind::Motion)
            }
            (
                "RuleEngine",
                "FieldDetector"
                | "LineDetector"
                | "LoiteringDetector"
                | "ObjectDetection"
                | "MyRuleDetector"
                | "PeopleDetector"
                | "TPSmartEventDetector"
                | "IntrusionDetector"
                | "CellMotionDetector"
                | "LineCrossDetector",
            ) => Some(Kind::Object),
            _ => None,
        }
    }

    /// Whether what it tells of is so. A property that was deleted is not so any more.
    pub fn condition(&self) -> Condition {
        if self.operation == Some(Operation::Deleted) {
            return Condition::Inactive;
        }
        let known = |item: &&(String, String)| {
            let name = item.0.to_ascii_lowercase();
            name == "state" || name == "logicalstate" || name == "value" || name == "motionactive" || {
                name.strip_prefix("is").is_some_and(|rest| !rest.is_empty())
            }
        };
        let values = || self.data.iter().filter(known).filter_map(|(_, value)| truth(value));
        if values().any(|value| value) {
            Condition::Active
        } else if values().next().is_some() {
            Condition::Inactive
        } else {
            Condition::Momentary
        }
    }

    /// Whether it says that something moves.
    pub fn is_motion(&self) -> bool {
        self.kind() == Some(Kind::Motion) && self.condition() != Condition::Inactive
    }

    /// Whether it says that the camera is being tampered with.
    pub fn is_tamper(&self) -> bool {
        self.kind() == Some(Kind::Tamper) && self.condition() != Condition::Inactive
    }

    /// Whether it says that the camera gets no picture from its source.
    pub fn is_signal_loss(&self) -> bool {
        self.kind() == Some(Kind::SignalLoss) && self.condition() != Condition::Inactive
    }

    /// What it is about, for a sentence: `VideoSourceConfigurationToken=1, Rule=MyMotion`. Empty when it does not say.
    pub fn source_text(&self) -> String {
        self.source.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
    }

    /// The value of a data item.
    pub fn datum(&self, name: &str) -> Option<&str> {
        self.data.iter().find(|(held, _)| held == name).map(|(_, value)| value.as_str())
    }
}

/// The dialect of a single topic (WS-Topics §8.2 with the extension of ONVIF Core §9.5.3).
pub const DIALECT_CONCRETE_SET: &str = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet";

/// A topic without the prefixes of its parts.
pub fn topic(text: &str) -> String {
    let parts: Vec<&str> = text.trim().split('/').map(|part| local_name(part.trim())).collect();
    kept(&parts.join("/"))
}

fn items(parent: Option<&Element>) -> Vec<(String, String)> {
    let items = parent.into_iter().flat_map(|parent| parent.children("SimpleItem"));
    items
        .filter_map(|item| Some((kept(item.attribute("Name")?), kept(item.attribute("Value")?))))
        .take(ITEMS_MAX)
        .collect()
}

/// The start of a text, on one line.
fn kept(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn truth(text: &str) -> Option<bool> {
    let text = text.trim();
    let any = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if any(&["true", "1", "active", "on"]) {
        Some(true)
    } else if any(&["false", "0", "inactive", "off"]) {
        Some(false)
    } else {
        None
    }
}
