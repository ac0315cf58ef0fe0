//! The one search of the network, of a kind, that operators see: one runs at a time, and the last one is kept.
//!
//! What is looked for, and how, is for whoever begins it; nothing here bounds what is found.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_model::WallTime;
use tokio::sync::watch;

/// How a search stands that finds `F`.
#[derive(Clone, Debug)]
pub struct SearchState<F> {
    /// Its number, from 1.
    pub id: u64,
    /// When it began.
    pub since: WallTime,
    /// When it ended; `None` while it runs.
    pub ended: Option<WallTime>,
    /// What was found until now.
    pub found: F,
}

/// The search that runs, or the last one.
#[derive(Debug)]
pub struct Searches<F> {
    last: Mutex<Option<Job<F>>>,
}

#[derive(Debug)]
struct Job<F> {
    state: Arc<Mutex<SearchState<F>>>,
    /// Set or dropped, it ends the search.
    stop: watch::Sender<bool>,
}

/// Where a search notes what it finds.
#[derive(Debug)]
pub struct Notes<F>(Arc<Mutex<SearchState<F>>>);

/// Whether a search is to end.
#[derive(Debug)]
pub struct Stopped(watch::Receiver<bool>);

impl Stopped {
    /// Returns when it is to.
    pub async fn wait(&mut self) {
        // An error means that the node ends.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

impl<F> Notes<F> {
    /// Something was found.
    pub fn note(&self, change: impl FnOnce(&mut F)) {
        change(&mut lock(&self.0).found);
    }
}

/// Notes when a search ended, however it did.
struct Ending<F, C: Fn() -> WallTime>(Arc<Mutex<SearchState<F>>>, C);

impl<F, C: Fn() -> WallTime> Drop for Ending<F, C> {
    fn drop(&mut self) {
        let Self(state, clock) = self;
        lock(state).ended = Some(clock());
    }
}

impl<F> Default for Searches<F> {
    fn default() -> Self {
        Self { last: Mutex::new(None) }
    }
}

impl<F: Clone + Send + 'static> Searches<F> {
    /// Begins a search, unless one runs: `start` says what it has found at first, and how it goes on. `clock` tells the time.
    ///
    /// # Errors
    /// The number of the search that runs.
    pub fn begin<G, R>(
        &self,
        clock: impl Fn() -> WallTime + Send + 'static,
        start: impl FnOnce() -> (F, G),
    ) -> Result<u64, u64>
    where
        G: FnOnce(Notes<F>, Stopped) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        let mut last = self.last();
        let before = last.as_ref().map(|job| {
            let state = lock(&job.state);
            (state.id, state.ended.is_none())
        });
        if let Some((id, true)) = before {
            return Err(id);
        }
        let id = before.map_or(1, |(id, _)| id.saturating_add(1));
        let (found, run) = start();
        let state = SearchState { id, since: clock(), ended: None, found };
        let state = Arc::new(Mutex::new(state));
        let (stop, stopped) = watch::channel(false);
        let ending = Ending(Arc::clone(&state), clock);
        let run = run(Notes(Arc::clone(&state)), Stopped(stopped));
        tokio::spawn(async move {
            let _ending = ending;
            run.await;
        });
        *last = Some(Job { state, stop });
        Ok(id)
    }

    /// How the last search stands; `None` when there was none.
    pub fn newest(&self) -> Option<SearchState<F>> {
        self.last().as_ref().map(|job| lock(&job.state).clone())
    }

    /// How a search stands; `None` when it is not the last.
    pub fn state(&self, id: u64) -> Option<SearchState<F>> {
        self.newest().filter(|state| state.id == id)
    }

    /// Ends a search, if it runs; what it found stays. `false` when it is not the last.
    pub fn stop(&self, id: u64) -> bool {
        let last = self.last();
        let job = last.as_ref().filter(|job| lock(&job.state).id == id);
        if let Some(job) = job {
            job.stop.send_replace(true);
        }
        job.is_some()
    }

    fn last(&self) -> MutexGuard<'_, Option<Job<F>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<F>(state: &Mutex<SearchState<F>>) -> MutexGuard<'_, SearchState<F>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn ended(searches: &Searches<Vec<u32>>, id: u64) -> Vec<u32> {
        let ended = async {
            loop {
                let state = searches.state(id).unwrap();
                if state.ended.is_some() {
                    return state.found;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap()
    }

    #[tokio::test]
    async fn one_search_runs_at_a_time_and_stops_when_told() {
        let searches = Searches::<Vec<u32>>::default();
        let clock = || WallTime::from_ticks(90_000);
        let until_told = |notes: Notes<Vec<u32>>, mut stopped: Stopped| async move {
            notes.note(|found| found.push(7));
            stopped.wait().await;
            notes.note(|found| found.push(8));
        };
        assert!(searches.newest().is_none());
        assert_eq!(searches.begin(clock, || (Vec::new(), until_told)), Ok(1));
        assert_eq!(searches.begin(clock, || (Vec::new(), until_told)), Err(1));
        assert!(searches.state(1).unwrap().ended.is_none());
        assert!(searches.state(2).is_none() && !searches.stop(2));
        assert!(searches.stop(1));
        assert_eq!(ended(&searches, 1).await, [7, 8]);
        assert_eq!(searches.begin(clock, || (Vec::new(), until_told)), Ok(2));
        assert!(searches.stop(2) && !searches.stop(1));
    }

    #[tokio::test]
    async fn a_search_that_panics_has_ended_and_holds_up_no_other() {
        let searches = Searches::<Vec<u32>>::default();
        let clock = || WallTime::from_ticks(90_000);
        let panics = |notes: Notes<Vec<u32>>, _| async move {
            notes.note(|found| found.push(7));
            panic!("on purpose");
        };
        assert_eq!(searches.begin(clock, || (Vec::new(), panics)), Ok(1));
        assert_eq!(ended(&searches, 1).await, [7]);
        assert_eq!(searches.begin(clock, || (Vec::new(), |_, _| async {})), Ok(2));
    }
}
