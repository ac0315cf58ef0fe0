//! Guests of a running node: taken up, told what to do, let go.

use std::collections::BTreeMap;
use std::sync::Arc;

use keepwatch_model::{CameraId, GapReason, RoleId, Span, StreamId, WallTime};
use keepwatch_recording::ledger::Ledger;

use super::books::enter_ledgers;
use super::difference::effective;
use super::ledgers::Whose;
use super::{Inner, Node, NodeError, ledgers, serve};
use crate::camera::{CameraState, Connection, Ending, GuestOf, StreamState, receives};
use crate::config::{CameraConfig, RecorderConfig};
use crate::guests::{Duty, Guest, GuestError, GuestEvents, GuestView, Keeper, Kept, Key, Wish};
use crate::serve::Access;
use crate::settings::Changing;

impl Node {
    /// Takes up `guests` as the cameras of recorder `role` that may have to be recorded here, and lets go of those that are
    /// not among them any more; what was recorded of those stays. A guest that is there keeps its duty, and is not touched
    /// where nothing of it changed; another rests at first. Once begun it is brought to its end. Waits for guests that are
    /// let go and for a reload that is under way, so do not wait for it where a duty must be given at once.
    ///
    /// # Errors
    /// Those that cannot be taken up, each with the reason; the others are.
    pub async fn set_guests(&self, role: RoleId, guests: Vec<Guest>) -> Result<(), Vec<GuestError>> {
        let node = self.clone();
        let set = tokio::spawn(async move { node.change_guests(role, guests).await });
        let refused = set.await.unwrap_or_else(|error| vec![GuestError::Books(error.to_string())]);
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }

    /// Says what is to be done with a guest. Returns at once, and it is done at once.
    ///
    /// # Errors
    /// When there is no such guest.
    pub fn set_duty(&self, role: RoleId, camera: CameraId, duty: Duty) -> Result<(), GuestError> {
        let kept = self.inner.guests.kept();
        let kept = kept.get(&(role, camera)).ok_or(GuestError::Unknown { role, camera })?;
        kept.keeper.wish(|wish| std::mem::replace(&mut wish.duty, duty) != duty);
        Ok(())
    }

    /// How a guest stands; `None` when there is no such guest.
    pub fn guest(&self, role: RoleId, camera: CameraId) -> Option<GuestView> {
        let kept = self.inner.guests.kept();
        let Kept { guest, camera, keeper } = kept.get(&(role, camera))?;
        let connection = camera.main().connection().0;
        Some(GuestView {
            local: guest.local,
            duty: keeper.duty(),
            durable: camera.main().newest(),
            receiving: matches!(connection, Connection::Recording | Connection::Buffered),
            buffered_bytes: camera.streams().map(|stream| stream.held_back().bytes).sum(),
            buffered: camera.main().held_back().camera,
        })
    }

    /// Another recorder holds a guest's footage up to `until`, in camera time: what of it waits in memory and ends before is let
    /// go, but for a record, as two recorders never agree to the frame. Nothing where there is no such guest.
    pub fn trim(&self, role: RoleId, camera: CameraId, until: WallTime) {
        self.each_stream(role, camera, |stream| stream.trim(until));
    }

    /// Brings to the disk what of `span`, in camera time, waits in memory of a guest, whatever its duty; the rest waits on.
    /// Nothing where there is no such guest.
    pub fn save(&self, role: RoleId, camera: CameraId, span: Span) {
        self.each_stream(role, camera, |stream| stream.save(&self.inner.context.store, span));
    }

    /// Sets how many bytes of memory all guests together may take under [`Duty::Buffer`]. That is memory of its own, and no part
    /// of what recording has.
    pub fn set_prebuffer_bytes_max(&self, bytes: u64) {
        self.inner.context.store.set_hold_bytes_max(bytes);
    }

    /// Bytes that they take.
    pub fn prebuffer_bytes(&self) -> u64 {
        self.inner.context.store.hold_bytes()
    }

    fn each_stream(&self, role: RoleId, camera: CameraId, act: impl Fn(&StreamState)) {
        let camera = self.inner.guests.kept().get(&(role, camera)).map(|kept| Arc::clone(&kept.camera));
        for stream in camera.iter().flat_map(|camera| camera.streams()) {
            act(stream);
        }
    }

    /// All guests, by recorder and their ids there.
    pub fn guests(&self) -> Vec<(RoleId, CameraId)> {
        self.inner.guests.kept().keys().copied().collect()
    }

    /// Whether a picture of a guest comes, which is asked of the camera unless it is received anyhow. Takes 16 s at most, and
    /// longer only while many others are tried. False when there is no such guest.
    pub async fn try_guest(&self, role: RoleId, camera: CameraId) -> bool {
        let Some(view) = self.guest(role, camera) else { return false };
        if view.receiving {
            return true;
        }
        // It is never closed.
        let Ok(_place) = self.inner.guests.tries.acquire().await else { return false };
        let config = self.inner.guests.kept().get(&(role, camera)).map(|kept| kept.camera.config());
        match config {
            Some(config) => receives(&config, self.inner.context.clock).await,
            None => false,
        }
    }

    /// What happens to guests. For one listener: two would take each other's events.
    pub fn guest_events(&self) -> GuestEvents {
        GuestEvents::new(Arc::clone(&self.inner.guests.news))
    }

    /// Refuses a configuration file with cameras that have the ids of guests.
    pub(super) fn check_guests(&self, config: &RecorderConfig) -> Result<(), NodeError> {
        let guests = self.inner.guests.locals();
        let ids = config.cameras.iter().map(|camera| camera.id);
        let taken: Vec<CameraId> = ids.filter(|id| guests.contains(id)).collect();
        if taken.is_empty() { Ok(()) } else { Err(NodeError::CameraOfGuest(taken)) }
    }

    /// Ends all guests, because the recorder ends.
    pub(super) async fn end_guests(&self) {
        let kept = std::mem::take(&mut *self.inner.guests.kept());
        end_all(kept.into_values().map(|kept| {
            let ending = match kept.keeper.duty() {
                Duty::Record => Ending::Missing(GapReason::RecorderDown),
                Duty::Rest | Duty::Buffer => Ending::Unscheduled,
            };
            (kept, ending)
        }))
        .await;
    }

    async fn change_guests(&self, role: RoleId, guests: Vec<Guest>) -> Vec<GuestError> {
        let inner = &self.inner;
        // One change of cameras after another, whoever makes it.
        let changing = inner.book.changing.lock().await;
        if *changing == Changing::Closed {
            return vec![GuestError::Books("the recorder ends".to_owned())];
        }
        let mut refused = Vec::new();
        let wanted: BTreeMap<Key, Guest> =
            guests.into_iter().map(|guest| ((role, guest.camera), Guest { role, ..guest })).collect();
        self.let_go(role, &wanted).await;
        let mut fresh = Vec::new();
        for (key, guest) in wanted {
            let same = inner.guests.kept().contains_key(&key);
            let taken = inner.cameras.find(guest.local).is_some();
            let twice = fresh.iter().any(|other: &Guest| other.local == guest.local);
            if !same && (taken || twice) {
                refused.push(GuestError::Taken { role, camera: guest.camera, local: guest.local });
            } else {
                fresh.push(guest);
            }
        }
        match self.guest_ledgers(&fresh).await {
            Ok(mut ledgers) => {
                for guest in fresh {
                    self.take_guest(guest, &mut ledgers);
                }
            }
            Err(why) => refused.push(GuestError::Books(why)),
        }
        inner.tell_access();
        inner.learn_tracks();
        refused
    }

    /// Ends the guests of `role` that are not among `wanted` under the same id.
    async fn let_go(&self, role: RoleId, wanted: &BTreeMap<Key, Guest>) {
        let inner = &self.inner;
        let gone: Vec<Kept> = {
            let mut kept = inner.guests.kept();
            let stays = |key: &Key, kept: &Kept| {
                key.0 != role || wanted.get(key).is_some_and(|guest| guest.local == kept.guest.local)
            };
            kept.extract_if(.., |key, kept| !stays(key, kept)).map(|(_, kept)| kept).collect()
        };
        if gone.is_empty() {
            return;
        }
        let ids: Vec<(Key, CameraId)> =
            gone.iter().map(|kept| ((role, kept.guest.camera), kept.guest.local)).collect();
        end_all(gone.into_iter().map(|kept| (kept, Ending::Unscheduled))).await;
        // Their last words are entered while they are still known.
        let books = Arc::clone(inner);
        let _ = tokio::task::spawn_blocking(move || enter_ledgers(&books)).await;
        for (key, local) in ids {
            inner.cameras.remove(local);
            inner.guests.news.forget(key);
        }
    }

    /// The ledgers of the streams among `guests` that are not known yet.
    async fn guest_ledgers(
        &self,
        guests: &[Guest],
    ) -> Result<BTreeMap<(CameraId, StreamId), Ledger>, String> {
        let inner = &self.inner;
        let (mut ledgers, now) = (BTreeMap::new(), inner.context.clock.wall());
        let before = inner.guests.alive.get().copied().flatten();
        let unknown = |guest: &&Guest| {
            inner
                .cameras
                .find(guest.local)
                .is_none_or(|camera| guest.config.source.has_sub() && camera.stream(StreamId::SUB).is_none())
        };
        // What was kept since the start was not missed because the recorder was down.
        let (first, again): (Vec<&Guest>, Vec<&Guest>) =
            guests.iter().filter(unknown).partition(|guest| inner.guests.note(guest.local));
        for (guests, alive) in [(first, before), (again, Some(now))] {
            if guests.is_empty() {
                continue;
            }
            let configs: Vec<CameraConfig> =
                guests.into_iter().map(|guest| inner.guest_config(guest)).collect();
            let books = Arc::clone(inner);
            let read = move || ledgers::read(&books, &configs, alive, Whose::Others);
            let read = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
            ledgers.extend(read.map_err(|error| error.to_string())?);
        }
        Ok(ledgers)
    }

    /// Takes up one guest, or what changed of it.
    fn take_guest(&self, guest: Guest, ledgers: &mut BTreeMap<(CameraId, StreamId), Ledger>) {
        let inner = &self.inner;
        let now = inner.context.clock.wall();
        let config = inner.guest_config(&guest);
        let mut take = |stream| Some(at_rest(ledgers.remove(&(guest.local, stream))?, now));
        let mut kept = inner.guests.kept();
        if let Some(there) = kept.get_mut(&(guest.role, guest.camera)) {
            if let Some(ledger) = take(StreamId::SUB) {
                there.camera.take_up_sub(ledger, now);
            }
            let buffer = guest.buffer;
            there.guest = guest;
            there.keeper.wish(|wish| {
                let limits_differ = std::mem::replace(&mut wish.buffer, buffer) != buffer;
                configure(wish, config) || limits_differ
            });
            return;
        }
        let main = take(StreamId::MAIN).unwrap_or_else(|| at_rest(Ledger::new(), now));
        let news = Arc::clone(&inner.guests.news);
        let holds =
            [StreamId::MAIN, StreamId::SUB].map(|stream| inner.context.store.hold(guest.local, stream));
        let of = GuestOf { role: guest.role, camera: guest.camera, news, holds };
        let camera = Arc::new(CameraState::of(Some(of), config.clone(), main, now));
        if let Some(ledger) = take(StreamId::SUB) {
            camera.take_up_sub(ledger, now);
        }
        inner.cameras.insert(Arc::clone(&camera));
        let wish = Wish { duty: Duty::Rest, config: Arc::new(config), buffer: guest.buffer, end: None };
        let keeper = Keeper::start(inner.context.clone(), Arc::clone(&camera), wish);
        kept.insert((guest.role, guest.camera), Kept { guest, camera, keeper });
    }
}

impl Inner {
    /// Tells the RTSP server who may watch what from here on.
    pub(super) fn tell_access(&self) {
        let edited = self.book.edited();
        let config = self.config();
        let own = config.cameras.iter().chain(&edited.cameras).map(|camera| camera.id);
        let cameras = own.chain(self.guests.locals()).chain(self.shown.ids()).collect();
        self.access.send_replace(Arc::new(Access::new(config.rtsp.users.clone(), cameras)));
    }

    /// Learns what the footage is that was there before. Nobody waits for it: what is not known yet is told so.
    pub(super) fn learn_tracks(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        drop(tokio::task::spawn_blocking(move || serve::learn(&inner.context.store, &inner.cameras)));
    }

    /// Takes up for the guests what changed for all cameras: the retention.
    pub(super) fn refresh_guests(&self) {
        for kept in self.guests.kept().values() {
            let config = self.guest_config(&kept.guest);
            kept.keeper.wish(|wish| configure(wish, config));
        }
    }

    /// The configuration of a guest as a camera here.
    fn guest_config(&self, guest: &Guest) -> CameraConfig {
        let config = effective(&guest.config, &self.config());
        CameraConfig { id: guest.local, ..config }
    }
}

/// Changes what a guest runs under; whether that is anything new.
fn configure(wish: &mut Wish, config: CameraConfig) -> bool {
    let differs = *wish.config != config;
    if differs {
        wish.config = Arc::new(config);
    }
    differs
}

/// The ledger of a guest that nobody asked to record: from now on nothing of it is missing.
fn at_rest(mut ledger: Ledger, now: WallTime) -> Ledger {
    ledger.unscheduled_from(now);
    ledger
}

/// Ends all at once: each may say farewell to its camera, and wait for its disk.
async fn end_all(guests: impl Iterator<Item = (Kept, Ending)>) {
    let ends: Vec<_> = guests.map(|(kept, ending)| tokio::spawn(kept.keeper.end(ending))).collect();
    for end in ends {
        let _ = end.await;
    }
}
