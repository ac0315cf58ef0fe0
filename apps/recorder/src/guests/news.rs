//! What a standby hears of its guests: how far each is on disk. The latest of each, never a queue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_model::{CameraId, RoleId, WallTime};
use tokio::sync::Notify;

use super::Key;

/// What happened to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestEvent {
    /// More of it is on disk.
    Durable {
        /// The recorder that it belongs to.
        role: RoleId,
        /// Its id there.
        camera: CameraId,
        /// The end of what is on disk, in camera time; by label where the camera tells none.
        until: WallTime,
    },
}

/// News that nobody has heard; told from the threads of the disks.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// At most one line for each guest.
    durable: Mutex<BTreeMap<Key, WallTime>>,
    told: Notify,
}

impl News {
    /// What of a guest is on disk ends here.
    pub(crate) fn durable(&self, guest: Key, until: WallTime) {
        self.unheard().insert(guest, until);
        self.told.notify_one();
    }

    /// The guest is gone: nobody wants to hear of it.
    pub(crate) fn forget(&self, guest: Key) {
        self.unheard().remove(&guest);
    }

    fn unheard(&self) -> MutexGuard<'_, BTreeMap<Key, WallTime>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ear of one listener; a second one would hear what the first does not.
#[derive(Debug)]
pub struct GuestEvents {
    news: Arc<News>,
}

impl GuestEvents {
    pub(crate) const fn new(news: Arc<News>) -> Self {
        Self { news }
    }

    /// Waits for the next event. Whoever is slow hears the latest of each guest. Nothing is lost when the wait is given up.
    pub async fn recv(&mut self) -> GuestEvent {
        loop {
            if let Some(event) = self.try_recv() {
                return event;
            }
            self.news.told.notified().await;
        }
    }

    /// The next event, if there is one.
    pub fn try_recv(&mut self) -> Option<GuestEvent> {
        let ((role, camera), until) = self.news.unheard().pop_first()?;
        Some(GuestEvent::Durable { role, camera, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_slow_hears_the_latest_of_each_guest_once() {
        let news = Arc::new(News::default());
        let mut events = GuestEvents::new(Arc::clone(&news));
        let (role, gate, yard) = (RoleId([1; 16]), "gate".parse().unwrap(), "yard".parse().unwrap());
        let at = WallTime::from_ticks;
        for ticks in 1..1_000 {
            news.durable((role, gate), at(ticks));
            news.durable((role, yard), at(ticks));
        }
        let durable = |camera, ticks| GuestEvent::Durable { role, camera, until: at(ticks) };
        assert_eq!(events.recv().await, durable(gate, 999));
        assert_eq!(events.recv().await, durable(yard, 999));
        assert_eq!(events.try_recv(), None);
        news.durable((role, gate), at(7));
        assert_eq!(events.recv().await, durable(gate, 7));
        news.durable((role, yard), at(7));
        news.forget((role, yard));
        assert_eq!(events.try_recv(), None);
    }
}
