//! What a camera notices, made into lines of the event log and triggers of alarms.
//!
//! Two ways lead here, the pull point and the metadata track, and both end in the same `Notices`, so that what comes by
//! both is told once.

use keepwatch_model::EventCode;
use keepwatch_onvif::metadata;
use keepwatch_onvif::notification::{Condition, Kind, Notification};
use keepwatch_recording::notices::{self, Notice};

use super::context::Context;
use super::stream::StreamState;

/// Words that a document with notifications holds. Most documents are analytics and are not looked at further.
const MARK: &[u8] = b"NotificationMessage";

/// Longest document that is read for notifications: they have a few hundred bytes each.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

/// Takes what a camera said at its pull point or in its metadata: a trigger of an alarm first, and a line where it `tells`.
pub(super) fn hear(context: &Context, stream: &StreamState, notification: &Notification, tells: bool) {
    let condition = match notification.condition() {
        Condition::Active => notices::Condition::Active,
        Condition::Inactive => notices::Condition::Inactive,
        Condition::Momentary => notices::Condition::Momentary,
    };
    let source = notification.source_text();
    let name = match condition {
        notices::Condition::Active | notices::Condition::Inactive => {
            format!("{} {source}", notification.topic)
        }
        // Events of one source may differ in what they say.
        notices::Condition::Momentary => {
            format!("{} {source} {}", notification.topic, data_text(notification))
        }
    };
    // What is told twice, or too often for lines of its own, triggers all the same.
    stream.alarms().told(context.clock, notification, &name, condition);
    if !tells {
        return;
    }
    let subject = match notification.kind() {
        Some(Kind::Tamper | Kind::SignalLoss) => notices::Subject::Camera,
        Some(Kind::Motion) => notices::Subject::Motion,
        Some(Kind::Object | Kind::Input) | None => notices::Subject::Other,
    };
    let notice = Notice { subject, name: &name, condition, camera_time: notification.time };
    let Some(line) = stream.notices().look(context.clock.mono(), &notice) else { return };
    let (code, words) = meaning(notification, condition);
    let mut text = format!("{words} ({}", notification.topic);
    if !source.is_empty() {
        text = format!("{text}, {source}");
    }
    text.push(')');
    if line.left_out > 0 {
        text = format!("{text}; {} more were left out before, because there were too many", line.left_out);
    }
    context.tell(stream, context.clock.wall(), code, text);
}

/// The same of the notifications of a metadata document. What cannot be read is passed over: the document is recorded all the
/// same.
pub(super) fn hear_document(context: &Context, stream: &StreamState, document: &[u8], tells: bool) {
    let holds_some = document.windows(MARK.len()).any(|window| window == MARK);
    if document.len() > DOCUMENT_BYTES_MAX || !holds_some {
        return;
    }
    match metadata::notifications(document, context.clock.wall()) {
        Ok(read) => read.iter().for_each(|notification| hear(context, stream, notification, tells)),
        Err(error) => tracing::debug!(camera = %stream.camera, %error, "a metadata document cannot be read"),
    }
}

/// The code of an event, and what it says.
fn meaning(notification: &Notification, condition: notices::Condition) -> (EventCode, String) {
    let over = condition == notices::Condition::Inactive;
    match (notification.kind(), over) {
        (Some(Kind::Motion), false) => (EventCode::CameraMotionStarted, "something moves".to_owned()),
        (Some(Kind::Motion), true) => (EventCode::CameraMotionEnded, "nothing moves any more".to_owned()),
        (Some(Kind::Tamper), false) => (
            EventCode::CameraTampered,
            "the camera was covered, turned, blinded or put out of focus; look at its picture".to_owned(),
        ),
        (Some(Kind::Tamper), true) => (EventCode::CameraTamperEnded, "the camera sees as before".to_owned()),
        (Some(Kind::SignalLoss), false) => (
            EventCode::CameraSignalLost,
            "the camera gets no picture from its source; what is recorded is not what happens".to_owned(),
        ),
        (Some(Kind::SignalLoss), true) => {
            (EventCode::CameraSignalReturned, "the camera gets pictures from its source again".to_owned())
        }
        (Some(Kind::Object | Kind::Input) | None, _) => {
            let data = data_text(notification);
            let data = if data.is_empty() { "an event".to_owned() } else { data };
            (EventCode::CameraEvent, format!("the camera reports {data}"))
        }
    }
}

fn data_text(notification: &Notification) -> String {
    let pairs = notification.data.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(", ")
}
