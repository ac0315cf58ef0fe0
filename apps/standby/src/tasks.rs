//! Tasks that must not end while the standby runs: one that panics is begun anew.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

/// Time before a task is begun anew: one that panics at once must not take a processor.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Runs what `make` makes until that ends by itself, and makes it again when it panics. It ends with this.
pub(crate) async fn keep_up<F>(what: &'static str, mut make: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    loop {
        running.spawn(make());
        match running.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(what, %error, "a task of the standby ended badly, and is begun anew");
                sleep(AGAIN_AFTER).await;
            }
            Some(_) | None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_begun_anew_and_one_that_ends_is_not() {
        let begun = Arc::new(AtomicU32::new(0));
        keep_up("test", || {
            let begun = Arc::clone(&begun);
            async move { assert!(begun.fetch_add(1, Ordering::Relaxed) >= 2, "a fault") }
        })
        .await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }
}
