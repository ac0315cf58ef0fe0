//! How gaps are filled from elsewhere: what is missing, who is asked, how fast it comes and why it does not; pause, and limit.

use axum::Json;
use axum::extract::State;
use keepwatch_model::{CameraId, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::replenish::{JobEnd, Source};
use keepwatch_web::{Action, Caller, FieldError, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::BACKFILL_RATE_MIN;
use crate::{EndedJob, Node, ReplenishSettings, RunningJob, SourceStanding, StreamStanding};

/// Footage that is missing here and may be had from elsewhere.
#[derive(Serialize, ToSchema)]
pub(super) struct Replenishment {
    /// Nothing is fetched, for somebody said so.
    paused: bool,
    /// Most bits in a second, of all that is fetched together; `null` when there is no limit.
    bits_per_second_max: Option<u64>,
    /// How fast it comes at the moment.
    bits_per_second: u64,
    /// Whether cameras are asked for what their own cards hold.
    cards: bool,
    /// What is missing of all cameras, within their retention.
    missing_ms: i64,
    /// Of this, what nobody has, or what there is no room for.
    nowhere_ms: i64,
    /// Each stream of this recorder's cameras that misses something, or did since the recorder started.
    items: Vec<ReplenishedStream>,
}

/// A stream with gaps.
#[derive(Serialize, ToSchema)]
struct ReplenishedStream {
    #[schema(value_type = String)]
    camera: CameraId,
    #[schema(value_type = super::words::StreamName)]
    stream: String,
    /// What is missing, within the retention.
    missing_ms: i64,
    /// Of this, what is asked of nobody any more: nobody has it, or there is no room for it. Coverage says why it is missing.
    nowhere_ms: i64,
    /// What is being fetched; `null` when nothing is.
    running: Option<ReplenishRunning>,
    /// Who is asked, in this order.
    sources: Vec<ReplenishSource>,
    /// What ended last; `null` before the first.
    last: Option<ReplenishEnded>,
}

/// Who may have what is missing.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReplenishSourceKind {
    Recorder,
    Card,
}

/// Somebody who may have what is missing.
#[derive(Serialize, ToSchema)]
struct ReplenishSource {
    kind: ReplenishSourceKind,
    /// Of a recorder its name, of a card that of the camera.
    name: String,
    /// It could not be reached or refused, and is asked again then; `null` when it may be asked.
    #[schema(value_type = Option<String>, format = DateTime)]
    rests_until: Option<WallTime>,
}

/// What is being fetched.
#[derive(Serialize, ToSchema)]
struct ReplenishRunning {
    kind: ReplenishSourceKind,
    /// From whom.
    source: String,
    #[schema(value_type = String, format = DateTime)]
    from: WallTime,
    #[schema(value_type = String, format = DateTime)]
    to: WallTime,
    /// Since when it is fetched.
    #[schema(value_type = String, format = DateTime)]
    since: WallTime,
    /// What came so far.
    bytes: u64,
    /// How fast, in the last two seconds.
    bits_per_second: u64,
}

/// How asking a source ended.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ReplenishEnd {
    /// All that the source has of it is here.
    Over,
    /// It could not be reached, or broke off.
    Unreachable,
    /// It refused.
    Refused,
    /// The disks here took nothing.
    NoRoom,
    /// All that the full disks hold is newer.
    NotTaken,
    /// It was told to end, or what was missing had changed.
    Cancelled,
}

/// What was fetched, or was to be.
#[derive(Serialize, ToSchema)]
struct ReplenishEnded {
    kind: ReplenishSourceKind,
    /// From whom.
    source: String,
    #[schema(value_type = String, format = DateTime)]
    from: WallTime,
    #[schema(value_type = String, format = DateTime)]
    to: WallTime,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    at: WallTime,
    end: ReplenishEnd,
    /// What went wrong, in the words of the source or the system; `null` when nothing did.
    detail: Option<String>,
    /// How much of it is here.
    filled_ms: i64,
    /// What came.
    bytes: u64,
    /// How fast, from the first byte to the last.
    bits_per_second: u64,
    /// How long it took, from the first question to the last record on disk.
    took_ms: u64,
}

/// What is to be changed; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplenishmentBody {
    /// Whether nothing is fetched from now on.
    paused: Option<bool>,
    /// Most bits in a second, of all that is fetched together: 1,000,000 at least; 0 is no limit.
    bits_per_second_max: Option<u64>,
}

/// How gaps are filled from elsewhere.
#[utoipa::path(get, path = "/api/v1/replenishment", operation_id = "replenishment", tag = "failover",
    responses((status = 200, body = Replenishment)))]
pub(super) async fn show(State(node): State<Node>) -> Json<Replenishment> {
    Json(Replenishment::of(&node))
}

/// Pauses the filling of gaps, goes on with it, or limits it. It holds until the recorder is restarted, the limit also until the
/// configuration file says something else than it does at this moment.
#[utoipa::path(put, path = "/api/v1/replenishment", operation_id = "setReplenishment", tag = "failover",
    request_body = ReplenishmentBody, responses((status = 200, body = Replenishment)))]
pub(super) async fn set(
    State(node): State<Node>,
    caller: Caller,
    Json(body): Json<ReplenishmentBody>,
) -> Result<Json<Replenishment>, Problem> {
    let limit = body.bits_per_second_max.map(|bits| (bits > 0).then_some(bits));
    if limit.flatten().is_some_and(|bits| bits < BACKFILL_RATE_MIN) {
        let detail = format!("{BACKFILL_RATE_MIN} is the least; 0 is no limit");
        return Err(Problem::invalid(vec![FieldError::new("bits_per_second_max", detail)]));
    }
    caller.require_audit()?;
    let ReplenishSettings { paused, bits_per_second_max, .. } = node.replenishing().change(|settings| {
        settings.paused = body.paused.unwrap_or(settings.paused);
        settings.bits_per_second_max = limit.unwrap_or(settings.bits_per_second_max);
    });
    let state = if paused { "paused" } else { "running" };
    let limit = bits_per_second_max.map_or("no limit".to_owned(), |bits| format!("{bits} bit/s at most"));
    caller.enter(Action::ReplenishmentSet, "replenishment", format!("{state}, {limit}")).durable().await?;
    Ok(Json(Replenishment::of(&node)))
}

impl Replenishment {
    fn of(node: &Node) -> Self {
        let ReplenishSettings { paused, bits_per_second_max, cards } = node.replenishing().settings();
        let standing = node.replenishing().standing();
        let sum = |of: fn(&StreamStanding) -> i64| standing.iter().map(of).fold(0, i64::saturating_add);
        Self {
            paused,
            bits_per_second_max,
            bits_per_second: standing
                .iter()
                .filter_map(|stream| Some(stream.running.as_ref()?.bits_per_second))
                .fold(0, u64::saturating_add),
            cards,
            missing_ms: millis(sum(|stream| stream.missing_ticks)),
            nowhere_ms: millis(sum(|stream| stream.nowhere_ticks)),
            items: standing.into_iter().map(ReplenishedStream::from).collect(),
        }
    }
}

impl From<StreamStanding> for ReplenishedStream {
    fn from(standing: StreamStanding) -> Self {
        let StreamStanding { stream: (camera, stream), missing_ticks, nowhere_ticks, running, sources, last } =
            standing;
        let name = |of: Source| {
            let named = sources.iter().find(|source| source.source == of);
            named.map_or_else(|| unnamed(of), |source| source.name.clone())
        };
        Self {
            camera,
            stream: stream.to_string(),
            missing_ms: millis(missing_ticks),
            nowhere_ms: millis(nowhere_ticks),
            running: running.map(|running| ReplenishRunning::new(&running, name(running.source))),
            last: last.map(|last| ReplenishEnded::new(&last, name(last.source))),
            sources: sources.iter().map(ReplenishSource::from).collect(),
        }
    }
}

impl From<&SourceStanding> for ReplenishSource {
    fn from(source: &SourceStanding) -> Self {
        Self { kind: kind(source.source), name: source.name.clone(), rests_until: source.rests_until }
    }
}

impl ReplenishRunning {
    fn new(running: &RunningJob, source: String) -> Self {
        Self {
            kind: kind(running.source),
            source,
            from: running.span.from,
            to: running.span.to,
            since: running.since,
            bytes: running.bytes,
            bits_per_second: running.bits_per_second,
        }
    }
}

impl ReplenishEnded {
    fn new(last: &EndedJob, source: String) -> Self {
        let end = match last.end {
            JobEnd::Over => ReplenishEnd::Over,
            JobEnd::Unreachable => ReplenishEnd::Unreachable,
            JobEnd::Refused | JobEnd::Busy => ReplenishEnd::Refused,
            JobEnd::NoRoom => ReplenishEnd::NoRoom,
            JobEnd::NotTaken { .. } => ReplenishEnd::NotTaken,
            JobEnd::Cancelled => ReplenishEnd::Cancelled,
        };
        Self {
            kind: kind(last.source),
            source,
            from: last.span.from,
            to: last.span.to,
            at: last.at,
            end,
            detail: last.trouble.clone(),
            filled_ms: millis(last.filled_ticks),
            bytes: last.bytes,
            bits_per_second: last.bits_per_second,
            took_ms: u64::try_from(last.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

const fn kind(source: Source) -> ReplenishSourceKind {
    match source {
        Source::Recorder(_) => ReplenishSourceKind::Recorder,
        Source::Card(_) => ReplenishSourceKind::Card,
    }
}

/// A source that is asked no more.
fn unnamed(source: Source) -> String {
    match source {
        Source::Recorder(role) => role.to_string(),
        Source::Card(camera) => camera.to_string(),
    }
}

const fn millis(ticks: i64) -> i64 {
    ticks.saturating_mul(1_000) / TICKS_PER_SECOND
}
