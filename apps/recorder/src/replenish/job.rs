//! One job: fetches what one source has of one gap, from the look at what is held beside it to the last record on disk.

use std::sync::Arc;

use keepwatch_model::{EventCode, TICKS_PER_SECOND};
use keepwatch_recording::replenish::{Job, JobEnd, Source};

use super::card::from_card;
use super::course::Passage;
use super::edges::Edges;
use super::import::{Import, SETTLE_MAX};
use super::receive::receive;
use crate::Node;
use crate::camera::{CameraState, StreamState};

/// What a job brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Brought {
    pub(super) end: JobEnd,
    /// Ticks of the gap that are filled.
    pub(super) ticks: i64,
}

impl From<JobEnd> for Brought {
    fn from(end: JobEnd) -> Self {
        Self { end, ticks: 0 }
    }
}

/// Fetches what the source of `job` has of its span.
pub(super) async fn run(node: Node, job: Job, passage: Passage) -> Brought {
    let (camera, stream) = job.stream;
    let Some(state) = node.camera(camera) else { return JobEnd::Cancelled.into() };
    let Some(stream) = state.stream(stream).cloned() else { return JobEnd::Cancelled.into() };
    // What an earlier fetch left on its way must be known before this one looks at what is held.
    let Ok(before) = tokio::time::timeout(SETTLE_MAX, stream.intake().settle()).await else {
        passage.course.trouble("the disks do not take what was fetched before");
        return JobEnd::NoRoom.into();
    };
    let edges = match look(&node, &stream, job, &passage).await {
        Ok(edges) => edges,
        Err(end) => return end.into(),
    };
    let mut import = Import::new(node.store(), Arc::clone(&stream), edges);
    let (end, whence) = ask(&node, &state, &stream, job, &mut import, &passage).await;
    let settled = tokio::time::timeout(SETTLE_MAX, stream.intake().settle()).await;
    let end = match settled {
        Ok(settled) if settled.refused > before.refused => {
            passage.course.trouble("the disks have no place for it: all that they hold is newer");
            settled.refused_until.map_or(end, |until| JobEnd::NotTaken { until })
        }
        Ok(settled) if settled.lost == before.lost => end,
        Ok(_) | Err(_) => {
            passage.course.trouble("the disks did not take it");
            JobEnd::NoRoom
        }
    };
    if import.records > 0 {
        let seconds = import.ticks / TICKS_PER_SECOND;
        let text =
            stream.sentence(format!("{seconds} s of footage that was missing came back from {whence}"));
        node.add_event(EventCode::FootageFilled, stream.subject(), text);
    }
    Brought { end, ticks: import.ticks }
}

/// Looks at what is held beside the gap, and whether it is one.
async fn look(node: &Node, stream: &Arc<StreamState>, job: Job, passage: &Passage) -> Result<Edges, JobEnd> {
    let (store, stream, key) = (node.store().clone(), Arc::clone(stream), job.stream);
    let looked = tokio::task::spawn_blocking(move || {
        // A record may have become durable and nobody have heard of it: its disk failed and was recovered since.
        for stretch in store.held(key.0, key.1, job.span)? {
            stream.ledger().filled(stretch.span, stretch.state());
        }
        let missing: i64 = stream.ledger().gaps(job.span).iter().map(|gap| gap.span.ticks()).sum();
        let edges = Edges::read(&store, key, job.span)?;
        Ok::<_, keepwatch_store::StoreError>((missing, edges))
    });
    match looked.await {
        Ok(Ok((missing, edges))) if missing == job.span.ticks() => Ok(edges),
        // What is missing is told anew, and asked for.
        Ok(Ok(_)) | Err(_) => Err(JobEnd::Cancelled),
        Ok(Err(error)) => {
            tracing::error!(camera = %job.stream.0, %error, "what is held beside a gap cannot be read");
            passage.course.trouble(format!("what is held beside the gap cannot be read: {error}"));
            Err(JobEnd::NoRoom)
        }
    }
}

/// Asks the source; says who it is, in words.
async fn ask(
    node: &Node,
    camera: &CameraState,
    stream: &StreamState,
    job: Job,
    import: &mut Import,
    passage: &Passage,
) -> (JobEnd, String) {
    match job.source {
        Source::Recorder(role) => {
            let standbys = node.peers().standbys();
            let Some(standby) = standbys.iter().find(|standby| standby.role == role) else {
                return (JobEnd::Refused, String::new());
            };
            let end = receive(node, standby, stream, (job.span, import), passage).await;
            (end, standby.name.clone())
        }
        Source::Card(_) => {
            // How far labels are ahead of the camera's clock: as the pictures beside the gap tell, or its last session.
            let last_session = || Some(camera.clock_offset_ticks()?.saturating_neg());
            let ahead_ticks = import.ahead_of_camera_ticks().or_else(last_session).unwrap_or(0);
            let end = from_card(camera, stream, (job.span, ahead_ticks), import, passage).await;
            (end, "the camera's card".to_owned())
        }
    }
}
