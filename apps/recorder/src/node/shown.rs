//! Cameras of which only footage is here: on a disk of another recorder that is configured to be read and never written.
//!
//! Each stands among the cameras under an id of its own, is watched, searched and exported like any other, and is never recorded.
//! Who writes the disk tells nothing, so the store looks it through from time to time, and the ledgers follow here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepwatch_model::{CameraId, Span, State, StreamId, WallTime};
use keepwatch_recording::ledger::Ledger;
use keepwatch_recording::schedule::Schedule;
use keepwatch_store::{Shown, StoreError};
use tokio::sync::watch;
use url::Url;

use super::Inner;
use crate::camera::{CameraState, GuestOf, StreamState};
use crate::config::{CameraConfig, CameraSource};

/// Time between two looks at what the store has found.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Looks between two at all that is held rather than at the latest: what is fetched for old gaps comes anywhere.
const LOOKS_PER_WHOLE: u32 = 1_800;
/// How far before the newest footage a look begins: an extent of fetched footage spans a day.
const LATEST_TICKS: i64 = 24 * 3_600 * keepwatch_model::TICKS_PER_SECOND;
const EVER: Span = Span { from: WallTime::MIN, to: WallTime::MAX };
/// An address that leads nowhere (RFC 6761 §6.4), in the place of one: nothing is dialled.
const NOWHERE: &str = "rtsp://disk.invalid/";

/// What is shown by now.
#[derive(Debug, Default)]
pub(super) struct ShownCameras(Mutex<BTreeMap<CameraId, Known>>);

/// How far a camera is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// As the disk was at this look of the store.
    UpTo(u64),
    /// It is not shown: another camera here has its id.
    Taken,
}

impl ShownCameras {
    /// Their ids here.
    pub(super) fn ids(&self) -> Vec<CameraId> {
        self.lock().iter().filter(|(_, known)| **known != Known::Taken).map(|(id, _)| *id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CameraId, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows what read-only disks hold, for as long as the node runs.
pub(super) async fn keep_shown(inner: Arc<Inner>, mut stopped: watch::Receiver<bool>) {
    if !inner.config().disks.iter().any(|disk| disk.read_only) {
        return;
    }
    let mut looks = 0_u32;
    loop {
        let whole = looks.is_multiple_of(LOOKS_PER_WHOLE);
        looks = looks.wrapping_add(1);
        let books = Arc::clone(&inner);
        if let Err(error) = tokio::task::spawn_blocking(move || look(&books, whole)).await {
            tracing::error!(%error, "showing read-only disks failed");
        }
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

fn look(inner: &Arc<Inner>, whole: bool) {
    let mut added = false;
    for shown in inner.context.store.shown() {
        let known = inner.shown.lock().get(&shown.local).copied();
        let result = match known {
            Some(Known::Taken) => Ok(()),
            Some(Known::UpTo(revision)) if revision == shown.revision && !whole => Ok(()),
            Some(Known::UpTo(_)) => follow(inner, &shown, whole),
            None if inner.cameras.find(shown.local).is_some() => {
                tracing::warn!(camera = %shown.local, disk = %shown.path.display(), "another camera here has the id under which footage of a read-only disk would be shown");
                inner.shown.lock().insert(shown.local, Known::Taken);
                Ok(())
            }
            None => {
                added = true;
                add(inner, &shown)
            }
        };
        match result {
            Ok(()) => {
                if let Some(Known::UpTo(revision)) = inner.shown.lock().get_mut(&shown.local) {
                    *revision = shown.revision;
                }
            }
            Err(error) => {
                tracing::warn!(camera = %shown.local, %error, "footage of a read-only disk is not shown")
            }
        }
    }
    if added {
        inner.tell_access();
        inner.learn_tracks();
    }
}

/// Puts a camera among the others, with all that is held of it.
fn add(inner: &Inner, shown: &Shown) -> Result<(), StoreError> {
    let store = &inner.context.store;
    let now = inner.context.clock.wall();
    let ledger = |stream| {
        let mut found = Vec::new();
        for stretch in store.held(shown.local, stream, EVER)? {
            let gap = stretch.gap_before;
            found.extend(gap.and_then(|gap| {
                Some((Span::new(gap.from, stretch.span.from)?, State::Gap { reason: gap.reason }))
            }));
            found.push((stretch.span, stretch.state()));
        }
        // From the end of what is held on, nothing of it is missing here.
        Ok::<_, StoreError>(Ledger::restore(Vec::new(), found, None, now, &Schedule::never()))
    };
    let (news, local) = (Arc::clone(&inner.guests.news), shown.local);
    let holds = [StreamId::MAIN, StreamId::SUB].map(|stream| store.hold(local, stream));
    let of = GuestOf { role: shown.owner, camera: shown.camera, news, holds };
    let camera = CameraState::of(Some(of), config(shown), ledger(StreamId::MAIN)?, now);
    if shown.sub {
        camera.take_up_sub(ledger(StreamId::SUB)?, now);
    }
    inner.cameras.insert(Arc::new(camera));
    inner.shown.lock().insert(local, Known::UpTo(shown.revision));
    tracing::info!(camera = %local, disk = %shown.path.display(), "footage of a read-only disk is shown");
    Ok(())
}

/// Enters what was written since the last look; what was overwritten the store has told.
fn follow(inner: &Inner, shown: &Shown, whole: bool) -> Result<(), StoreError> {
    let Some(camera) = inner.cameras.find(shown.local) else { return Ok(()) };
    if shown.sub && camera.stream(StreamId::SUB).is_none() {
        camera.take_up_sub(Ledger::new(), inner.context.clock.wall());
    }
    camera.streams().try_for_each(|stream| follow_stream(inner, stream, whole))
}

fn follow_stream(inner: &Inner, stream: &StreamState, whole: bool) -> Result<(), StoreError> {
    let until = stream.ledger().held_until().filter(|_| !whole);
    let from = until.map_or(WallTime::MIN, |until| until.plus(-LATEST_TICKS));
    let held = inner.context.store.held(stream.camera, stream.id, Span { from, to: WallTime::MAX })?;
    for stretch in held {
        stream.ledger().held(stretch.span, stretch.state());
    }
    Ok(())
}

fn config(shown: &Shown) -> CameraConfig {
    let url: Url = NOWHERE.parse().expect("a constant that is an address");
    let name = format!("{} on {}", shown.camera, shown.path.display());
    let config = CameraConfig::new(shown.local, url.clone());
    let source = CameraSource::Rtsp { sub_url: shown.sub.then(|| url.clone()), url };
    CameraConfig { name, source, ..config }
}
