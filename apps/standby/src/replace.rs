//! Replace: another recorder gets a backup of a failed one, and its role in the next epoch.
//!
//! The new recorder is registered first, then asked to take the role, then watched in the place of the old one. Whatever is
//! recorded for the role meanwhile goes on. A fault on the way leaves all as it was here; where the answer of the new recorder
//! was lost, Replace with the same backup brings it to its end.

use keepwatch_model::{EventCode, RoleId, Subject, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::failover::{Command, Event};
use keepwatch_recording::peer::{Backup, Restore, Restored};
use keepwatch_settings::standby::{FormerRow, PrimaryRow};

use crate::driver::{Input, buffer_time};
use crate::lists::Lists;
use crate::world::{RegisterRefusal, RegisterWish};
use crate::{Standby, StandbyError, refusal};

/// Why a recorder was not replaced.
#[derive(Debug)]
pub(crate) enum ReplaceError {
    /// The state of things does not allow it.
    Standby(StandbyError),
    /// The other recorder does not take the role, or cannot be registered.
    Other(RegisterRefusal),
}

impl From<StandbyError> for ReplaceError {
    fn from(error: StandbyError) -> Self {
        Self::Standby(error)
    }
}

/// What is kept of a role, and goes to who is to play it.
struct Kept {
    row: PrimaryRow,
    /// The latest epoch of it that is known.
    epoch: u64,
    backup: Backup,
}

/// For how long, by `now`, who plays the role may not have recorded all of it, whoever did: this standby, another one or nobody. The
/// new recorder asks for all of that, and what nobody has is a gap. Too long harms nothing, too short leaves footage where it is.
fn missed_ms(lists: &Lists, role: RoleId, now: WallTime) -> u64 {
    let primary = lists.primaries.iter().find(|primary| primary.view.role == role);
    let Some(since) = primary.and_then(|primary| primary.lacking_since) else { return 0 };
    let lacks_ms = now.ticks_since(since).max(0) / (TICKS_PER_SECOND / 1000);
    let before_ms = u64::try_from(buffer_time(&lists.setup).as_millis()).unwrap_or(0);
    u64::try_from(lacks_ms).unwrap_or(0).saturating_add(before_ms)
}

/// What came of an attempt, if only that it ended badly: the state that it began must end with it.
async fn ended<T: Send + 'static>(
    attempt: impl Future<Output = Result<T, ReplaceError>> + Send + 'static,
) -> Result<T, ReplaceError> {
    tokio::spawn(attempt).await.unwrap_or_else(|error| {
        let detail = format!("it ended badly, and can be tried again: {error}; please report this");
        Err(ReplaceError::Other(refusal("interrupted", detail)))
    })
}

impl Standby {
    /// Has the recorder of `wish` take the role, with the backup of that number, or the last one.
    pub(crate) async fn replace(
        &self,
        role: RoleId,
        wish: RegisterWish,
        number: Option<u64>,
    ) -> Result<Restored, ReplaceError> {
        self.command(Command::Replace(role)).await?;
        // Whoever asked may go: what was begun is brought to its end.
        let standby = self.clone();
        let replacing = tokio::spawn(async move {
            let trying = standby.clone();
            let replaced = ended(async move { trying.try_replace(role, wish, number).await }).await;
            if replaced.is_err() {
                standby.tell(Input::Happened(Event::NotReplaced { role })).await?;
            }
            replaced
        });
        replacing.await.map_err(|_| StandbyError::Ending)?
    }

    async fn try_replace(
        &self,
        role: RoleId,
        wish: RegisterWish,
        number: Option<u64>,
    ) -> Result<Restored, ReplaceError> {
        let inner = &self.inner;
        let address = wish.address;
        let Kept { mut row, epoch, backup } = self.kept_of(role, number).await?;
        let said = inner.lines.ask(address).await.map_err(ReplaceError::Other)?;
        // Each recorder plays one role.
        let mut others = self.lists().primaries.clone().into_iter().filter(|other| other.view.role != role);
        if let Some(other) = others.find(|other| other.view.role == said.role) {
            let detail = format!(
                "that is {:?}, which is on the Monitoring list for itself; choose a recorder that is not, or take it off the list",
                other.name
            );
            return Err(ReplaceError::Other(refusal("watched_already", detail)));
        }
        let missed_ms = missed_ms(&self.lists(), role, inner.node.clock().wall());
        let restore = Restore { epoch: epoch.saturating_add(1), backup, missed_ms };
        let (hello, restored) = inner.lines.replace(wish, restore).await.map_err(ReplaceError::Other)?;
        let former = FormerRow {
            role,
            key: row.key.clone(),
            address: row.address,
            epoch: restored.epoch,
            successor: hello.name.clone(),
        };
        let before = std::mem::replace(&mut row.name, hello.name);
        row.key = hello.key.to_string();
        row.address = address;
        row.mac = hello.mac;
        row.version = hello.version;
        row.epoch = restored.epoch;
        let left = match restored.left.is_empty() {
            true => String::new(),
            false => format!("; not taken over: {}", restored.left.join("; ")),
        };
        let text = format!(
            "recorder {:?} at {address} plays the role of {before:?} in epoch {}, with {} of its cameras{left}",
            row.name, row.epoch, restored.cameras
        );
        inner.node.add_event(EventCode::PrimaryReplaced, Subject::Node, text);
        self.remember(former, row.key.clone()).await;
        self.tell(Input::Replaced(Box::new(row))).await?;
        Ok(restored)
    }

    /// The recorder that was replaced is told so when it returns, and the one that plays the role by now is not.
    async fn remember(&self, former: FormerRow, plays: String) {
        let book = self.inner.book.clone();
        let kept = tokio::task::spawn_blocking(move || {
            if former.key != plays {
                book.put_former(&former)?;
            }
            book.forget_former(&plays)
        });
        if let Ok(Err(error)) = kept.await {
            tracing::error!(%error, "the recorder that was replaced will not be told");
        }
        self.inner.replaced.notify_one();
    }

    /// What is kept of a primary, and a backup of it.
    async fn kept_of(&self, role: RoleId, number: Option<u64>) -> Result<Kept, ReplaceError> {
        let book = self.inner.book.clone();
        let read = tokio::task::spawn_blocking(move || {
            let row = book.primaries()?.rows.into_iter().find(|row| row.role == role);
            let number = match number {
                Some(number) => Some(number),
                None => book.backups(role)?.first().map(|line| line.number),
            };
            let backup = match number {
                Some(number) => book.backup(role, number)?,
                None => None,
            };
            Ok::<_, StandbyError>((row, backup))
        });
        let (row, backup) = read.await.map_err(|_| StandbyError::Ending)??;
        let missing = || {
            let detail = "there is no such backup of it; GET .../backups lists them";
            ReplaceError::Other(refusal("backup_unknown", detail))
        };
        let (Some(row), Some(backup)) = (row, backup) else { return Err(missing()) };
        let unusable = |why: String| ReplaceError::Other(refusal("backup_unusable", why));
        let backup: Backup = serde_json::from_slice(&backup).map_err(|error| unusable(error.to_string()))?;
        // One that was altered where it is kept is restored nowhere.
        let contents = backup.open().map_err(|error| unusable(error.to_string()))?;
        let known =
            self.lists().primaries.iter().find(|primary| primary.view.role == role).map(|it| it.view.epoch);
        let epoch = row.epoch.max(contents.epoch).max(known.unwrap_or(0));
        Ok(Kept { row, epoch, backup })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_that_panics_is_told_as_one_that_failed() {
        let panics = async { panic!("a fault") };
        let refused = ended::<Restored>(panics).await.unwrap_err();
        assert!(matches!(refused, ReplaceError::Other(refusal) if refusal.code == "interrupted"));
    }
}
