//! Alarms of cameras that are recorded on alarm: how they stand, and one that somebody raises.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use keepwatch_model::{TICKS_PER_SECOND, WallTime};
use keepwatch_recording::alarm::RAISED_MAX;
use keepwatch_web::{Action, Caller, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::query;
use crate::{Alarm, AlarmView, CameraState, Node, RaiseError};

/// Longest note in characters; it stands in lines of the event log.
const NOTE_CHARS_MAX: usize = 200;

/// An alarm to raise.
#[derive(Deserialize, ToSchema)]
#[schema(as = AlarmBody)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// Why; at most 200 characters.
    #[serde(default)]
    note: String,
    /// How long it lasts, in seconds, before the time behind it begins: 0 to 86,400. 0 when left out: it is a moment.
    #[serde(default)]
    #[schema(maximum = 86_400)]
    seconds: u32,
}

/// How the alarms of a camera stand that is recorded on alarm.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = CameraAlarm)]
pub(super) struct Shown {
    /// Whether it waits for an alarm, or is recorded for one.
    #[schema(value_type = super::words::AlarmState)]
    state: &'static str,
    /// Since when it is so.
    #[schema(value_type = String, format = DateTime)]
    since: WallTime,
    /// What began the alarm, as a sentence; `null` while it waits.
    cause: Option<String>,
    /// What keeps the alarm up; `null` when nothing does, and it ends by itself.
    kept_by: Option<String>,
    /// Whether what triggers alarms is heard. While it is not, the camera is recorded. `null` where only the API raises one.
    #[schema(value_type = Option<super::words::TriggersState>)]
    triggers: Option<&'static str>,
    /// How much of the main stream waits in memory, to be recorded with the next alarm.
    held_ms: u64,
}

impl Shown {
    /// Those of `camera`; `None` for one that is recorded all the time.
    pub(super) fn of(camera: &CameraState) -> Option<Self> {
        let AlarmView { since, alarm, heard } = camera.alarm_view()?;
        let held_ticks = camera.main().held_back().label.map_or(0, |span| span.ticks());
        let held_ms = held_ticks.saturating_mul(1_000).div_euclid(TICKS_PER_SECOND);
        let triggers = heard.map(|heard| if heard { "heard" } else { "unheard" });
        let (state, cause, kept_by) = match alarm {
            None => ("waiting", None, None),
            Some(Alarm { cause, kept_by }) => {
                ("recording", Some(cause.to_string()), kept_by.map(|cause| cause.to_string()))
            }
        };
        Some(Self { state, since, cause, kept_by, triggers, held_ms: u64::try_from(held_ms).unwrap_or(0) })
    }

    /// Without what changes all the time.
    pub(super) fn still(self) -> Self {
        Self { held_ms: 0, ..self }
    }
}

/// Raises an alarm: the camera is recorded, with the time before.
#[utoipa::path(post, path = "/api/v1/cameras/{id}/alarm", operation_id = "raiseAlarm", tag = "cameras",
    params(("id" = String, Path, description = "The camera.")), request_body = Request,
    responses((status = 200, body = Shown)))]
pub(super) async fn raise(
    State(node): State<Node>,
    Path(id): Path<String>,
    caller: Caller,
    Json(Request { note, seconds }): Json<Request>,
) -> Result<Json<Shown>, Problem> {
    let camera = query::camera(&node, &id)?;
    if note.chars().count() > NOTE_CHARS_MAX || note.chars().any(char::is_control) {
        let detail = format!("the note is one line of at most {NOTE_CHARS_MAX} characters");
        return Err(Problem::bad_request("note_invalid", detail));
    }
    let lasts = Duration::from_secs(seconds.into());
    if lasts > RAISED_MAX {
        let detail = format!("seconds is 0 to {}, not {seconds}", RAISED_MAX.as_secs());
        return Err(Problem::bad_request("seconds_invalid", detail));
    }
    let user = &caller.identity.user;
    let words =
        if note.is_empty() { format!("{user} raised it") } else { format!("{user} raised it: {note}") };
    camera.raise_alarm(node.clock(), words, lasts).map_err(|error| match error {
        RaiseError::Continuous => Problem::conflict("not_on_alarm", error.to_string()),
        RaiseError::NotTaken => Problem::conflict("alarm_not_taken", error.to_string()),
    })?;
    // Recording begins first; whether it is on record that somebody asked for it is another matter.
    drop(caller.enter(Action::AlarmRaised, format!("camera:{}", camera.id), note));
    let shown = Shown::of(&camera);
    // It was reconfigured meanwhile.
    let gone = || Problem::conflict("not_on_alarm", RaiseError::Continuous.to_string());
    shown.map(Json).ok_or_else(gone)
}
