//! Makes the archive of a job: its footage, what is missing in it, and the proof of both.

use std::fs::OpenOptions;
use std::io;
use std::sync::Arc;

use keepwatch_model::{CameraId, CodecKind, EventCode, Span, StreamId, Subject};
use keepwatch_store::{ReadError, Store, StoreError};
use keepwatch_tls::IdentityError;
use serde_json::json;
use tokio::sync::Semaphore;

use super::job::{Job, Order, plain};
use super::{Jobs, Place};
use crate::Node;
use crate::evidence::{
    COVERAGE, FORMAT, MANIFEST, Manifest, ManifestFile, NamedCamera, PUBLIC_KEY, README, SIGNATURE,
    ZipWriter, readme,
};
use crate::export::{Export, ExportError, FootageError, Selection};

/// Pieces of different coding that one camera's footage is looked through for; what is behind them is left out by an error.
const STRETCHES_MAX: usize = 1_000;

/// Why an archive cannot be made.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the footage changes its coding more than {STRETCHES_MAX} times; export a shorter time")]
    TooMany,
    #[error("the disk of the data directory has no room for it; remove exports, or make room there")]
    NoRoom,
    #[error("the archive cannot be written: {0}")]
    Write(#[from] io::Error),
    #[error("it cannot be signed: {0}")]
    Sign(#[from] IdentityError),
    #[error("nothing is held any more of what was asked for")]
    Empty,
    #[error("it was given up")]
    GivenUp,
    #[error("the node's log says why")]
    Interrupted,
}

/// About how many bytes an order gives. Reads the index, so it blocks.
pub(super) fn estimate(store: &Store, order: &Order) -> Result<u64, StoreError> {
    let mut bytes = 0_u64;
    for camera in &order.cameras {
        bytes = bytes.saturating_add(estimate_one(store, (*camera, order.stream), order.window())?);
    }
    Ok(bytes)
}

fn estimate_one(store: &Store, (camera, stream): Place, window: Span) -> Result<u64, StoreError> {
    let rows = store.runs(camera, stream, window)?;
    let share = |row: &keepwatch_store::RunRow| {
        let inside = row.label.intersection(window).map_or(0, Span::ticks);
        let share = i128::from(row.media_bytes).saturating_mul(i128::from(inside));
        u64::try_from(share / i128::from(row.label.ticks().max(1))).unwrap_or(0)
    };
    Ok(rows.iter().map(share).fold(0, u64::saturating_add))
}

/// Makes the archive of `job` when its turn comes.
pub(super) async fn run(node: Node, job: Arc<Job>, running: Arc<Semaphore>) {
    let place = tokio::select! {
        place = running.acquire_owned() => place,
        () = job.given_up() => return,
    };
    if place.is_err() || !job.begin(node.clock().mono()) {
        return;
    }
    let jobs = node.jobs();
    jobs.note(&job);
    let made = make(&node, &job).await;
    let now = node.clock().wall();
    match made {
        Ok(bytes) if job.done(bytes, now) => {
            let order = job.order();
            for camera in &order.cameras {
                let text = format!("an export for {} from {} to {} was made", order.by, order.from, order.to);
                node.add_event(EventCode::FootageExported, Subject::Camera(*camera), text);
            }
        }
        Ok(_) | Err(MakeError::GivenUp) => jobs.remove_archive(&job),
        Err(error) => {
            tracing::warn!(job = job.id(), %error, "an export failed");
            if let MakeError::Export(ExportError::Footage(FootageError::Read {
                camera,
                source: ReadError::Damaged { .. },
                ..
            })) = &error
            {
                let text = format!("{error}; run keepwatch verify, and look at the health of the disk");
                node.add_event(EventCode::FootageDamaged, Subject::Camera(*camera), text);
            }
            job.fail(&error.to_string(), now);
            jobs.remove_archive(&job);
        }
    }
    // One that was removed meanwhile leaves no description behind.
    if jobs.find(job.id()).is_some() {
        jobs.note(&job);
    }
}

/// An archive on its way.
struct Making {
    zip: ZipWriter,
    files: Vec<ManifestFile>,
    /// Bytes of footage written.
    done: u64,
    /// Bytes of the cameras that come behind the present one, an estimate.
    later: u64,
}

async fn make(node: &Node, job: &Arc<Job>) -> Result<u64, MakeError> {
    let jobs = node.jobs();
    let order = job.order();
    let path = jobs.unfinished(job);
    let (node_too, job_too) = (node.clone(), Arc::clone(job));
    let (file, estimates) = blocking(move || {
        let (jobs, order): (&Jobs, _) = (node_too.jobs(), job_too.order());
        let one = |camera: &CameraId| estimate_one(node_too.store(), (*camera, order.stream), order.window());
        let estimates = order.cameras.iter().map(one).collect::<Result<Vec<u64>, _>>()?;
        if !jobs.make_room(estimates.iter().copied().fold(0, u64::saturating_add))? {
            return Err(MakeError::NoRoom);
        }
        let path = jobs.unfinished(&job_too);
        Ok((OpenOptions::new().read(true).write(true).create_new(true).open(path)?, estimates))
    })
    .await?;
    let later = estimates.iter().copied().fold(0, u64::saturating_add);
    let mut making = Making { zip: ZipWriter::new(file), files: Vec::new(), done: 0, later };
    for (camera, own) in order.cameras.iter().zip(estimates) {
        let place = (*camera, order.stream);
        making.later = making.later.saturating_sub(own);
        let read = node.read_place().await;
        let store = node.store().clone();
        let window = order.window();
        let stretches = blocking(move || {
            let _read = read;
            stretches(&store, place, window)
        })
        .await?;
        for (number, stretch) in stretches.into_iter().enumerate() {
            making = add_stretch(node, job, making, place, (number, stretch)).await?;
        }
    }
    if making.files.is_empty() {
        return Err(MakeError::Empty);
    }
    let (node, job) = (node.clone(), Arc::clone(job));
    blocking(move || {
        let bytes = finish(&node, &job, making)?;
        if job.is_given_up() {
            return Err(MakeError::GivenUp);
        }
        std::fs::rename(path, node.jobs().archive(&job))?;
        Ok(bytes)
    })
    .await
}

/// A part of a window in which the pictures are of one coding.
type Stretch = (Span, CodecKind);

/// The parts of `window` with pictures of one coding each. All records of a run have the same tracks but for parameter
/// sets, so one index of each is read.
fn stretches(store: &Store, (camera, stream): Place, window: Span) -> Result<Vec<Stretch>, MakeError> {
    let mut found: Vec<Stretch> = Vec::new();
    let mut run = None;
    for record in store.records(camera, stream, window)? {
        if run.replace(record.info.run) == Some(record.info.run) {
            continue;
        }
        // One that cannot be read is told by the export, if it is wanted.
        let Ok(index) = store.read_index(&record) else { continue };
        let Some(kind) = index.tracks.iter().map(|track| track.config.kind).find(|kind| kind.is_video())
        else {
            continue;
        };
        match found.last_mut() {
            Some((_, last)) if *last == kind => {}
            Some((before, _)) => {
                let at = record.info.label.from.max(before.from.plus(1));
                before.to = at.min(window.to);
                found.push((Span { from: at, to: window.to }, kind));
            }
            None => found.push((window, kind)),
        }
        if found.len() > STRETCHES_MAX {
            return Err(MakeError::TooMany);
        }
    }
    found.retain(|(span, _)| span.to > span.from);
    Ok(found)
}

/// Adds the file of a stretch; one of which nothing is left is passed over.
async fn add_stretch(
    node: &Node,
    job: &Arc<Job>,
    making: Making,
    place: Place,
    (number, (span, kind)): (usize, Stretch),
) -> Result<Making, MakeError> {
    let title =
        node.camera(place.0).map_or_else(|| place.0.to_string(), |camera| camera.config().name.clone());
    let selection = Selection { coding: Some(kind), sound: job.order().audio };
    let read = node.read_place().await;
    let store = node.store().clone();
    let planned = blocking(move || {
        let _read = read;
        Ok(Export::plan_selected(&store, place, &title, span, selection))
    })
    .await?;
    let export = match planned {
        Err(ExportError::Footage(FootageError::Empty { .. })) => return Ok(making),
        planned => planned?,
    };
    let stream = if place.1 == StreamId::MAIN { String::new() } else { format!("-{}", place.1) };
    let part = if number == 0 { String::new() } else { format!("-{}", number.saturating_add(1)) };
    let name = format!("{}{stream}-{}{part}.mp4", place.0, plain(span.from));
    let file_bytes = export.file_bytes();
    let begin = {
        let node = node.clone();
        move || {
            let mut making = making;
            // The estimate was made before others wrote: what this file takes is known now.
            if !node.jobs().make_room(file_bytes)? {
                return Err(MakeError::NoRoom);
            }
            making.zip.begin(&name, file_bytes)?;
            Ok(making)
        }
    };
    let mut making = blocking(begin).await?;
    let total = making.done.saturating_add(file_bytes).saturating_add(making.later);
    let mut export = export;
    loop {
        if job.is_given_up() {
            return Err(MakeError::GivenUp);
        }
        let read = node.read_place().await;
        let piece = move || {
            let piece = export.next_piece()?;
            drop(read);
            let ended = piece.is_none();
            match piece {
                Some(piece) => {
                    making.zip.write(&piece)?;
                    let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                    making.done = making.done.saturating_add(bytes);
                }
                None => making.files.push(making.zip.end()?),
            }
            Ok((export, making, ended))
        };
        let ended;
        (export, making, ended) = blocking(piece).await?;
        job.advance(making.done, total, node.clock().mono());
        if ended {
            return Ok(making);
        }
    }
}

/// Adds what proves the footage, and ends the archive. Blocks.
fn finish(node: &Node, job: &Job, making: Making) -> Result<u64, MakeError> {
    let Making { mut zip, mut files, .. } = making;
    let order = job.order();
    let mut listed = Vec::new();
    let mut cameras = Vec::new();
    for id in &order.cameras {
        let Some(camera) = node.camera(*id) else { continue };
        let name = camera.config().name.clone();
        if let Some(stream) = camera.stream(order.stream) {
            let items = crate::api::coverage_items(node, stream, order.window())?;
            listed.push(json!({"id": id, "name": name, "stream": order.stream.to_string(), "items": items}));
        }
        cameras.push(NamedCamera { id: *id, name });
    }
    let coverage = json!({"from": order.from, "to": order.to, "cameras": listed});
    let key = node.signing_key()?;
    let fingerprint = key.public()?.fingerprint().to_string();
    files.push(zip.add(COVERAGE, &pretty(&coverage)?)?);
    files.push(zip.add(README, readme(&node.name(), &fingerprint, &files).as_bytes())?);
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        node: node.name(),
        recorder: node.store().role().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created: order.created,
        by: order.by.clone(),
        from: order.from,
        to: order.to,
        stream: order.stream.to_string(),
        audio: order.audio,
        cameras,
        audit_head: order.audit_head.clone(),
        files,
    };
    let text = pretty(&manifest)?;
    zip.add(MANIFEST, &text)?;
    zip.add(SIGNATURE, &key.sign(&text)?)?;
    zip.add(PUBLIC_KEY, key.public_pem().as_bytes())?;
    Ok(zip.finish()?)
}

fn pretty(value: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// Runs what blocks off the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MakeError> + Send + 'static,
) -> Result<T, MakeError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "making an export ended badly");
        Err(MakeError::Interrupted)
    })
}
