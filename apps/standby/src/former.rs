//! Recorders that were replaced are told so when they return: nobody else would tell them, for they are watched no more.

use std::time::Duration;

use keepwatch_model::{EventCode, Subject};
use keepwatch_recording::peer::Superseded;
use keepwatch_settings::standby::FormerRow;
use tokio::sync::watch;

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
    for row in former {
        let lists = standby.lists();
        let plays = lists.primaries.iter().find(|primary| primary.view.role == row.role);
        let told = match plays {
            Some(primary) => {
                let told =
                    Superseded { role: row.role, epoch: primary.view.epoch, name: primary.name.clone() };
                standby.inner.lines.supersede(&row, told).await
            }
            // The role is watched no more: nothing is known of who plays it.
            None => Ok(()),
        };
        match told {
            Ok(()) => forget(standby, row, plays.is_some()).await,
            Err(failure) => tracing::debug!(why = failure.text, "a recorder that was replaced is away"),
        }
    }
}

async fn forget(standby: &Standby, row: FormerRow, told: bool) {
    if told {
        let text = format!("the recorder at {} was told that it was replaced", row.address);
        standby.inner.node.add_event(EventCode::PrimaryReplaced, Subject::Node, text);
    }
    let book = standby.inner.book.clone();
    let forgotten = tokio::task::spawn_blocking(move || book.forget_former(&row.key)).await;
    if let Ok(Err(error)) = forgotten {
        tracing::error!(%error, "a recorder that was replaced is told again");
    }
}
