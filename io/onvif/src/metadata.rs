//! The document that a metadata track carries (ONVIF Streaming §5.1.2.1): a `tt:MetadataStream`, of which the events are
//! read and the analytics and positions are passed over.

use keepwatch_model::WallTime;

use crate::notification::Notification;
use crate::xml::{Element, XmlError};

/// Why a sample of a metadata track has no notifications to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It is no XML that is read.
    #[error("metadata: {0}")]
    Xml(#[from] XmlError),
    /// The root is something else.
    #[error("metadata: no tt:MetadataStream but an element {0:?}")]
    Root(String),
}

/// The notifications in one document, in order. Most documents have none: they carry analytics. `now` is the time of those
/// that do not say theirs in a readable way.
pub fn notifications(document: &[u8], now: WallTime) -> Result<Vec<Notification>, MetadataError> {
    let root = Element::parse(document)?;
    // A few devices send the event alone.
    if matches!(root.name.as_str(), "Event" | "Notify") {
        return Ok(Notification::all_in(&root, now).collect());
    }
    if !matches!(root.name.as_str(), "MetadataStream" | "MetaDataStream") {
        return Err(MetadataError::Root(root.name.chars().take(64).collect()));
    }
    Ok(root.children("Event").flat_map(|event| Notification::all_in(event, now)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a Bosch camera frames it: analytics first, then events with a prefix of its own.
    #[test]
    fn events_are_found_beside_analytics() {
        let document = br#"<?xml version="1.0" encoding="UTF-8"?>
<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2"
  xmlns:tns1="http://www.onvif.org/ver10/topics">
<tt:VideoAnalytics><tt:Frame UtcTime="2026-11-22T02:00:00.040Z"><tt:Object ObjectId="7"/></tt:Frame></tt:VideoAnalytics>
<tt:Event><wsnt:NotificationMessage>
<wsnt:Topic Dialect="http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet">tns1:VideoSource/MotionAlarm</wsnt:Topic>
<wsnt:Message><tt:Message UtcTime="2026-11-22T02:00:00.040Z" PropertyOperation="Changed">
<tt:Source><tt:SimpleItem Name="Source" Value="1"/></tt:Source>
<tt:Data><tt:SimpleItem Name="State" Value="true"/></tt:Data>
</tt:Message></wsnt:Message></wsnt:NotificationMessage></tt:Event></tt:MetadataStream>"#;
        let read = notifications(document, WallTime::MIN).unwrap();
        assert_eq!(read.len(), 1);
        assert!(read[0].is_motion());
        assert_eq!(read[0].time, "2026-11-22T02:00:00.04Z".parse().unwrap());
    }

    #[test]
    fn a_document_without_events_has_none_and_another_is_an_error() {
        assert_eq!(notifications(b"<MetadataStream/>", WallTime::MIN), Ok(vec![]));
        assert_eq!(notifications(b"<html/>", WallTime::MIN), Err(MetadataError::Root("html".to_owned())));
        assert!(matches!(notifications(b"", WallTime::MIN), Err(MetadataError::Xml(_))));
    }
}
