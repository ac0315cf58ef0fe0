//! `keepwatch alarm`: raises an alarm of a camera that is recorded on alarm, over the node's Unix socket.

use keepwatch_model::WallTime;
use keepwatch_web::{SOCKET_NAME, SocketClient};
use serde::Deserialize;
use serde_json::json;

use crate::cli::AlarmOptions;
use crate::client::{self, printable, seconds};
use crate::{Outcome, output};

/// What the node answers.
#[derive(Debug, Deserialize)]
struct Alarm {
    since: WallTime,
    #[serde(default)]
    cause: Option<String>,
}

/// Raises it.
pub(crate) async fn run(options: AlarmOptions) -> anyhow::Result<Outcome> {
    let socket = SocketClient::new(client::data_of(&options.node)?.join(SOCKET_NAME));
    let body = json!({ "note": options.note, "seconds": options.seconds });
    let path = format!("/api/v1/cameras/{}/alarm", options.camera);
    let alarm: Alarm = socket.post(&path, &body).await?;
    output::say(format_args!(
        "{} is recorded, in an alarm since {}: {}",
        options.camera,
        seconds(Some(alarm.since)),
        printable(alarm.cause.as_deref().unwrap_or_default())
    ));
    Ok(Outcome::Done)
}
