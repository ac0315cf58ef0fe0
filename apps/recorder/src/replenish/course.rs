//! What is known of a job while it runs: what came, how fast, and what went wrong.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::card_pace::CardPace;
use super::limit::Limit;

/// What a job tells of itself.
#[derive(Debug, Default)]
pub(super) struct Course {
    bytes: AtomicU64,
    /// When the first came, and nanoseconds from then to the last.
    first: OnceLock<Instant>,
    lasted_ns: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Course {
    /// So many bytes came so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How fast it came, from the first to the last, or in a second if it took less.
    pub(super) fn bits_per_second(&self) -> u64 {
        let nanos = u128::from(self.lasted_ns.load(Ordering::Relaxed)).max(1_000_000_000);
        let bits = u128::from(self.bytes()).saturating_mul(8_000_000_000);
        u64::try_from(bits / nanos).unwrap_or(u64::MAX)
    }

    fn came(&self, bytes: usize) {
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        let lasted = self.first.get_or_init(Instant::now).elapsed().as_nanos();
        self.lasted_ns.store(u64::try_from(lasted).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Notes why it does not go on, in a sentence without a full stop.
    pub(super) fn trouble(&self, why: impl ToString) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_string());
    }

    /// What went wrong last.
    pub(super) fn last_trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What comes passes here: it is counted, and let through no faster than allowed.
#[derive(Clone, Debug)]
pub(super) struct Passage {
    pub(super) limit: Arc<Limit>,
    /// How fast it is read, where it is the card of a camera.
    pub(super) card: Option<Arc<CardPace>>,
    pub(super) course: Arc<Course>,
}

impl Passage {
    /// `bytes` came; returns when the next may.
    pub(super) async fn pass(&self, bytes: usize) {
        if let Some(free_at) = self.book(bytes) {
            tokio::time::sleep_until(free_at).await;
        }
    }

    /// `bytes` came; says when the next may, `None` for at once.
    pub(super) fn book(&self, bytes: usize) -> Option<tokio::time::Instant> {
        self.course.came(bytes);
        self.limit.book(bytes, tokio::time::Instant::now())
    }
}
