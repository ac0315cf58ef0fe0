//! Recorders that were replaced are told so when they return: nobody else would tell them, for they are watched no more.

use std::time::Duration;

use keepwatch_model::{EventCode, Subject};
use keepwatch_recording::peer::Superseded;
use keepwatch_settings::standby::FormerRow;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Standby;

/// How often they are tried: an attempt to connect costs next to nothing, and the machine is most likely gone for good.
const INTERVAL: Duration = Duration::from_secs(10);

/// Tells them, until `stopped`.
pub(crate) async fn run(standby: Standby, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tell_all(&standby) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        tokio::select! {
            () = standby.inner.replaced.notified() => {}
            () = tokio::time::sleep(INTERVAL) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

async fn tell_all(standby: &Standby) {
    let book = standby.inner.book.clone();
    let Ok(Ok(former)) = tokio::task::spawn_blocking(move || book.former()).await else { return };
    // All at once: most are gone for good, and each is waited for.
    let mut telling = JoinSet::new();
    for row in former {
        telling.spawn(tell(standby.clone(), row));
    }
    telling.join_all().await;
}

async fn tell(standby: Standby, row: FormerRow) {
    let told = Superseded { role: row.role, epoch: row.epoch, name: row.successor.clone() };
    match standby.inner.lines.supersede(&row, told).await {
        Ok(()) => forget(&standby, row).await,
        Err(failure) => tracing::debug!(why = failure.text, "a recorder that was replaced is away"),
    }
}

async fn forget(standby: &Standby, row: FormerRow) {
    let text = format!("the recorder at {} was told that it was replaced", row.address);
    standby.inner.node.add_event(EventCode::PrimaryReplaced, Subject::Node, text);
    let book = standby.inner.book.clone();
    let forgotten = tokio::task::spawn_blocking(move || book.forget_former(&row.key)).await;
    if let Ok(Err(error)) = forgotten {
        tracing::error!(%error, "a recorder that was replaced is told again");
    }
}
