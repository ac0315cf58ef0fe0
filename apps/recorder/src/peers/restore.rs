//! This recorder takes the role of another one, with its configuration: *Replace*.
//!
//! The epoch fences it. Whoever played the role before keeps the earlier epoch, so that it is told apart when it returns. The
//! role is taken last, after all that belongs to it is in force: where the node dies in between, the same request brings it to
//! its end. What was recorded here before stays what it is, and cameras of this recorder's own go on.

use axum::http::StatusCode;
use keepwatch_model::{CameraId, EventCode, Subject, TICKS_PER_SECOND};
use keepwatch_recording::peer::{
    Contents, LEFT_BYTES_MAX, LEFT_MAX, NodePublic, Restore, Restored, Superseded, own_version,
};
use keepwatch_recording::schedule::Schedule;
use keepwatch_web::{Action, Auth, Peer, Problem};

use super::backup::wish;
use super::register::{Asker, blocking, one_line, versions_differ};
use crate::Node;
use crate::api::edit_problem;
use crate::config::{Secret, units};
use crate::settings::{CameraWish, PasswordWish};

/// Longest time that counts as missing: of footage that is older nobody expects to get it back.
const MISSED_MS_MAX: u64 = 366 * 86_400_000;

impl Node {
    /// Takes the role of the recorder that made the backup.
    pub(super) async fn take_role(
        &self,
        auth: &Auth,
        asker: &Asker,
        asked: &Restore,
    ) -> Result<Restored, Problem> {
        let _replacing = self.peers().begin_replacing()?;
        let contents = asked.backup.open().map_err(|error| {
            let title = "The backup cannot be used";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "backup_unusable", title, error.to_string())
        })?;
        if contents.version() != Some(own_version()) {
            let detail = versions_differ(own_version(), contents.version());
            let detail = format!("{detail}; the backup is of the version of the standby's primary");
            return Err(Problem::new(StatusCode::CONFLICT, "version_differs", "The versions differ", detail));
        }
        self.peers().fence(asker.key, contents.role, contents.epoch, asked)?;
        // Found out before anything is changed.
        let users = auth.read_users(&contents.users)?;
        auth.audit().require_working()?;
        let by = self.peers().name_of(asker.key)?;
        let (wishes, left) = wishes(&contents);
        let cameras = wishes.len();
        let ids: Vec<CameraId> = wishes.iter().map(|wish| wish.draft.id).collect();
        let repeats = self.peers().role().0 == contents.role;
        self.take_cameras(&by, wishes, repeats).await.map_err(edit_problem)?;
        self.miss(&ids, asked.missed_ms);
        let users = auth.take_users(users).await?;
        let left = told(left, &contents);
        let (role, epoch) = (contents.role, asked.epoch);
        let (node, key, restore) = (self.clone(), asker.key, asked.clone());
        blocking(move || node.peers().take(key, role, &restore)).await??;
        let text = format!(
            "this recorder took the role {role} of {} in epoch {epoch}, asked by the standby {by}, with {cameras} cameras and \
             {users} users{}",
            contents.name,
            left.iter().map(|sentence| format!("; {sentence}")).collect::<String>()
        );
        tracing::warn!("{text}");
        self.add_event(EventCode::RoleTaken, Subject::Node, text.clone());
        let object = format!("role:{role}");
        let receipt = auth.audit().enter_as(&by, "standby", &asker.peer, Action::RoleTaken, object, text);
        receipt.durable().await?;
        Ok(Restored { role, epoch, cameras, left })
    }
}

impl Node {
    /// Cameras were not recorded for so long before now, by who had the role: that is missing here, and is fetched from the standby.
    fn miss(&self, cameras: &[CameraId], missed_ms: u64) {
        let ticks = i64::try_from(missed_ms.min(MISSED_MS_MAX)).unwrap_or(0) * (TICKS_PER_SECOND / 1000);
        if ticks == 0 {
            return;
        }
        let now = self.clock().wall();
        for camera in cameras.iter().filter_map(|id| self.camera(*id)) {
            let config = camera.config();
            let schedule =
                Schedule::new(config.schedule.iter().map(|span| (span.from_minute, span.to_minute)));
            for stream in camera.streams() {
                stream.ledger().missed_since(now.plus(-ticks), now, &schedule);
            }
        }
    }

    /// Another recorder plays the role of this one, says the standby that watched it: it was replaced.
    pub(super) async fn superseded(
        &self,
        auth: &Auth,
        (key, peer): (NodePublic, &Peer),
        told: Superseded,
    ) -> Result<(), Problem> {
        let told = Superseded { name: one_line(&told.name), ..told };
        let (node, kept) = (self.clone(), told.clone());
        let standby = blocking(move || node.peers().supersede(key, kept)).await??;
        let text = superseded(&told);
        tracing::warn!(standby = %standby.name, "{text}");
        self.add_event(EventCode::RoleSuperseded, Subject::Node, text.clone());
        let object = format!("role:{}", told.role);
        let receipt =
            auth.audit().enter_as(&standby.name, "standby", peer, Action::RoleSuperseded, object, text);
        receipt.durable().await?;
        Ok(())
    }
}

/// What an operator is to know and do about a recorder that was replaced.
pub(crate) fn superseded(by: &Superseded) -> String {
    format!(
        "this recorder was replaced: {} plays its role in epoch {}. It goes on recording its cameras and is watched no more; \
         switch it off, or set it up anew as another recorder",
        by.name, by.epoch
    )
}

/// What was not taken over, as it is answered: so many sentences, and each no longer, as whoever asked reads.
pub(super) fn told(mut left: Vec<String>, contents: &Contents) -> Vec<String> {
    left.truncate(LEFT_MAX - 1);
    if !contents.rtsp_users.is_empty() {
        let names: Vec<&str> = contents.rtsp_users.iter().map(|user| user.user.as_str()).collect();
        left.push(format!(
            "who may watch over RTSP stands in the configuration file of this recorder; enter {} there",
            names.join(", ")
        ));
    }
    for sentence in &mut left {
        sentence.truncate(sentence.floor_char_boundary(LEFT_BYTES_MAX));
    }
    left
}

/// The cameras of a backup as they are to be edited here, and what cannot be.
fn wishes(contents: &Contents) -> (Vec<CameraWish>, Vec<String>) {
    let retention = contents.retention.as_deref().and_then(|text| units::duration(text).ok());
    let (mut wishes, mut left) = (Vec::new(), Vec::new());
    for camera in &contents.cameras {
        match wish(camera, camera.id) {
            Ok(mut wish) => {
                wish.draft.retention = wish.draft.retention.or(retention);
                wish.password = match &camera.password {
                    Some(password) => PasswordWish::Set(Secret::new(password.expose().to_owned())),
                    None => PasswordWish::Remove,
                };
                wishes.push(wish);
            }
            Err(errors) => {
                let told: Vec<String> = errors.into_iter().map(|error| error.detail).collect();
                left.push(format!("camera {} cannot be recorded: {}", camera.id, told.join("; ")));
            }
        }
    }
    (wishes, left)
}
