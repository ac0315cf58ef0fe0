//! This recorder takes the role of another one, with its configuration: *Replace*.
//!
//! The epoch fences it. Whoever played the role before keeps the earlier epoch, so that it is told apart when it returns. The
//! role is taken last, after all that belongs to it is in force: where the node dies in between, the same request brings it to
//! its end. What was recorded here before stays what it is, and cameras of this recorder's own go on.

use axum::http::StatusCode;
use keepwatch_model::{EventCode, Subject};
use keepwatch_recording::peer::{Contents, Restore, Restored, own_version};
use keepwatch_web::{Action, Auth, Problem};

use super::backup::wish;
use super::register::{Asker, blocking, versions_differ};
use crate::Node;
use crate::api::edit_problem;
use crate::config::{Secret, units};
use crate::settings::{CameraWish, PasswordWish};

/// Most sentences about what was not taken over.
const LEFT_MAX: usize = 100;

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
        self.peers().fence(asker.key, contents.role, contents.epoch, asked.epoch)?;
        // Found out before anything is changed.
        let users = auth.read_users(&contents.users)?;
        auth.audit().require_working()?;
        let by = self.peers().name_of(asker.key)?;
        let (wishes, mut left) = wishes(&contents);
        let cameras = wishes.len();
        let repeats = self.peers().role().0 == contents.role;
        self.take_cameras(&by, wishes, repeats).await.map_err(edit_problem)?;
        let users = auth.take_users(users).await?;
        if !contents.rtsp_users.is_empty() {
            let names: Vec<&str> = contents.rtsp_users.iter().map(|user| user.user.as_str()).collect();
            left.push(format!(
                "who may watch over RTSP stands in the configuration file of this recorder; enter {} there",
                names.join(", ")
            ));
        }
        left.truncate(LEFT_MAX);
        let (role, epoch) = (contents.role, asked.epoch);
        let node = self.clone();
        blocking(move || node.peers().take(role, epoch)).await??;
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
