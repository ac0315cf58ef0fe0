//! What a device reports, by PullPoint, in a metadata stream or as the result of a search: `tt:Message` under a topic.

use keepwatch_model::WallTime;

use crate::lexical;
use crate::xml::Writer;

/// One report of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The path of its topic without prefixes: `RuleEngine/CellMotionDetector/Motion`.
    pub topic: String,
    /// When it happened, by the device's clock.
    pub time: WallTime,
    /// What it is about: names and values, such as `("VideoSourceConfigurationToken", "1")`.
    pub source: Vec<(String, String)>,
    /// What it says: names and values, such as `("IsMotion", "true")`.
    pub data: Vec<(String, String)>,
    /// What happened to the property; `None` for a mere event.
    pub operation: Option<Operation>,
}

/// What happened to a property (ONVIF Core "Message format").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// This is its value at the moment; it did not just change.
    Initialized,
    /// It was given this value.
    Changed,
    /// There is no such property any more.
    Deleted,
}

impl Operation {
    /// The name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialized => "Initialized",
            Self::Changed => "Changed",
            Self::Deleted => "Deleted",
        }
    }
}

impl Notification {
    /// Writes the content of a `wsnt:NotificationMessage`: topic and message.
    pub fn write(&self, writer: &mut Writer) {
        const DIALECT: &str = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet";
        writer.leaf_with("wsnt:Topic", &[("Dialect", DIALECT)], &format!("tns1:{}", self.topic));
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
}
