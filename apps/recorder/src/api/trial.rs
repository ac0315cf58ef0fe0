//! A camera that is tried before it is added: what it really sends, and a picture of it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use keepwatch_web::{Action, Caller, Problem};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::settings::{self, CameraBody};
use crate::Node;
use crate::camera::{Probed, ProbedStream, probe};
use crate::config::CameraConfig;

/// Width of the picture, which is looked at to see that it is the right camera.
const WIDTH: u16 = 640;

/// What a camera that was tried sends.
#[derive(Serialize, ToSchema)]
pub(super) struct Tried {
    /// Always true: one that is not is a problem that says what the camera said.
    reachable: bool,
    /// Its streams, the main one first.
    streams: Vec<TriedStream>,
    /// The certificate that it showed; `null` without TLS.
    certificate: Option<String>,
    /// A picture of it as a `data:` address of a JPEG file; `null` when there is none.
    picture: Option<String>,
    /// Why there is no picture.
    picture_detail: Option<String>,
}

/// A stream of a camera that was tried.
#[derive(Serialize, ToSchema)]
pub(super) struct TriedStream {
    /// `main` or `sub`.
    #[schema(value_type = super::words::StreamName)]
    stream: String,
    /// What came and would be recorded, the video first.
    #[schema(example = json!(["h264 1920x1080 25 fps", "aac 16000 Hz"]))]
    tracks: Vec<String>,
    /// What is offered and would be recorded, and of which nothing came.
    silent: Vec<String>,
    /// What is wanted and offered and cannot be recorded, with the reason.
    left_out: Vec<String>,
}

impl From<ProbedStream> for TriedStream {
    fn from(probed: ProbedStream) -> Self {
        let ProbedStream { id, seen, left_out, .. } = probed;
        Self { stream: id.to_string(), tracks: seen.tracks, silent: seen.silent, left_out }
    }
}

/// Tries a camera without recording it. Takes at most 30 s, mostly two.
#[utoipa::path(post, path = "/api/v1/cameras/test", operation_id = "testCamera", tag = "cameras",
    request_body = CameraBody, responses((status = 200, body = Tried)))]
pub(super) async fn test(
    State(node): State<Node>,
    caller: Caller,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Tried>, Problem> {
    caller.require_audit()?;
    let wish = settings::read(&body)?;
    let config = node.camera_to_try(&wish).map_err(settings::problem)?;
    let _place = node.probe_place().ok_or_else(|| {
        Problem::unavailable("tests_busy", "other cameras are being tried; wait for one to end")
            .retry_after(Duration::from_secs(5))
    })?;
    // Before it is done: a login that is tried out is on record, whatever comes of it.
    caller.enter(Action::CameraTested, format!("camera:{}", config.id), "").durable().await?;
    let mut probed = probe(&config, node.clock()).await.map_err(|why| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, "camera_unusable", "The camera cannot be recorded like this", why)
    })?;
    let (picture, picture_detail) = match picture(&node, &caller, &config, &mut probed).await {
        Ok(file) => (Some(format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(file))), None),
        Err(why) => (None, Some(why)),
    };
    let certificate = probed.streams.iter().find_map(|stream| stream.certificate);
    Ok(Json(Tried {
        reachable: true,
        certificate: certificate.map(|certificate| certificate.to_string()),
        streams: probed.streams.into_iter().map(TriedStream::from).collect(),
        picture,
        picture_detail,
    }))
}

/// A picture of the first stream that has one which can be shown, else the one that the camera makes itself; else why
/// there is none.
async fn picture(
    node: &Node,
    caller: &Caller,
    config: &CameraConfig,
    probed: &mut Probed,
) -> Result<bytes::Bytes, String> {
    let user = caller.identity.user.as_str();
    let mut whys = Vec::new();
    for stream in &mut probed.streams {
        match stream.seen.key.take() {
            Some(key) => match node.pictures().show_key(user, key, WIDTH).await {
                Ok(file) => return Ok(file),
                Err(error) => whys.push(format!("{} stream: {error}", stream.id)),
            },
            None => whys.push(format!(
                "{} stream: no picture that decoding can start at came in time; let the camera send a key frame every two seconds",
                stream.id
            )),
        }
    }
    match probed.own_picture(config).await {
        Some(Ok(file)) => match node.pictures().show_file(user, file.into(), WIDTH).await {
            Ok(file) => return Ok(file),
            Err(error) => whys.push(format!("the picture that the camera makes itself: {error}")),
        },
        Some(Err(why)) => whys.push(format!("the picture that the camera makes itself: {why}")),
        None => {}
    }
    Err(whys.join("; "))
}
