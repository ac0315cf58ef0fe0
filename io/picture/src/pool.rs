//! The workers of a node, and who comes next: users in turn, whoever of them asks for most.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;

use crate::process::Worker;
use crate::{Made, PictureError, Request, WorkerCommand};

/// Workers at a time: recording comes first, and pictures are looked at by people.
const WORKERS_MAX: usize = 2;
/// Requests that wait, each with what leads to its picture: at most so many times 32 MiB, mostly a hundredth of it.
pub const QUEUE_MAX: usize = 32;
/// Requests of one user that wait: a wall of cameras.
pub const USER_QUEUE_MAX: usize = 16;
/// A worker that had nothing to do for so long is ended.
const IDLE: Duration = Duration::from_secs(30);
/// Pictures after which a worker is replaced: what its decoder leaks is bounded, and so is its processor time.
const PICTURES_MAX: u32 = 128;

/// Makes pictures; cheap to clone. Dropping the last one ends the workers.
#[derive(Clone, Debug)]
pub struct Pictures {
    shared: Arc<Shared>,
    /// Its end tells the workers' tasks.
    _open: Arc<watch::Sender<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    came: Notify,
}

/// A request, and where its answer goes.
#[derive(Debug)]
struct Waiting {
    request: Request,
    answer: oneshot::Sender<Result<Made, PictureError>>,
}

/// Requests that wait, by user.
#[derive(Debug, Default)]
struct Queue {
    users: BTreeMap<String, VecDeque<Waiting>>,
    /// Who was served last.
    last: String,
    waiting: usize,
    ending: bool,
}

impl Queue {
    fn push(&mut self, user: &str, waiting: Waiting) -> Result<(), PictureError> {
        if self.ending {
            return Err(PictureError::Ending);
        }
        // Whoever has gone away does not take a place.
        for requests in self.users.values_mut() {
            requests.retain(|waiting| !waiting.answer.is_closed());
        }
        self.users.retain(|_, requests| !requests.is_empty());
        self.waiting = self.users.values().map(VecDeque::len).sum();
        let own = self.users.get(user).map_or(0, VecDeque::len);
        if self.waiting >= QUEUE_MAX || own >= USER_QUEUE_MAX {
            return Err(PictureError::Busy);
        }
        self.users.entry(user.to_owned()).or_default().push_back(waiting);
        self.waiting = self.waiting.saturating_add(1);
        Ok(())
    }

    /// The next request: of the user behind the one that was served last, in the order of their names.
    fn pop(&mut self) -> Option<Waiting> {
        let behind = (std::ops::Bound::Excluded(self.last.clone()), std::ops::Bound::Unbounded);
        let name = self.users.range(behind).next().or_else(|| self.users.iter().next())?.0.clone();
        let requests = self.users.get_mut(&name)?;
        let next = requests.pop_front();
        if requests.is_empty() {
            self.users.remove(&name);
        }
        self.last = name;
        self.waiting = self.waiting.saturating_sub(1);
        next
    }
}

impl Pictures {
    /// No worker runs until a picture is asked for. To be called within a runtime of tokio.
    pub fn new(command: WorkerCommand) -> Self {
        let shared = Arc::<Shared>::default();
        let (open, closed) = watch::channel(());
        for _ in 0..WORKERS_MAX {
            tokio::spawn(work(command.clone(), Arc::clone(&shared), closed.clone()));
        }
        Self { shared, _open: Arc::new(open) }
    }

    /// Has a picture made for `user`.
    ///
    /// # Errors
    /// When too many wait, what is asked for cannot be decoded or takes too long, or no worker can be started.
    pub async fn make(&self, user: &str, request: Request) -> Result<Made, PictureError> {
        let (answer, told) = oneshot::channel();
        self.shared.queue().push(user, Waiting { request, answer })?;
        self.shared.came.notify_one();
        told.await.unwrap_or(Err(PictureError::Ending))
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next(&self) -> Waiting {
        loop {
            // Before the look, so that what comes between both is not missed.
            let came = self.came.notified();
            if let Some(next) = self.queue().pop() {
                // One call may stand for several that came at once.
                self.came.notify_one();
                return next;
            }
            came.await;
        }
    }
}

/// One worker's place: it has a process while there is work.
async fn work(command: WorkerCommand, shared: Arc<Shared>, mut closed: watch::Receiver<()>) {
    let mut place = Place { command, worker: None, made: 0 };
    loop {
        tokio::select! {
            // The sender never sends: this is its end.
            _ = closed.changed() => break,
            next = timeout(IDLE, shared.next()) => match next {
                Ok(waiting) => {
                    let mut answer = waiting.answer;
                    let made = tokio::select! {
                        made = place.make(&waiting.request) => made,
                        // Whoever asked has gone: what has begun is ended, and others have the place.
                        () = answer.closed() => Err(PictureError::Ending),
                        _ = closed.changed() => break,
                    };
                    if !matches!(&made, Ok(_) | Err(PictureError::Undecodable(_) | PictureError::TooLarge(_))) {
                        place.end().await;
                    }
                    // An error means that nobody waits any more.
                    let _ = answer.send(made);
                }
                Err(_) => place.end().await,
            },
            () = place.broke() => place.end().await,
        }
    }
    let left = {
        let mut queue = shared.queue();
        queue.ending = true;
        std::mem::take(&mut queue.users)
    };
    for waiting in left.into_values().flatten() {
        let _ = waiting.answer.send(Err(PictureError::Ending));
    }
    place.end().await;
}

struct Place {
    command: WorkerCommand,
    worker: Option<Worker>,
    /// Pictures that the worker was asked for.
    made: u32,
}

impl Place {
    async fn make(&mut self, request: &Request) -> Result<Made, PictureError> {
        if self.made >= PICTURES_MAX {
            self.end().await;
        }
        let worker = match &mut self.worker {
            Some(worker) => worker,
            none @ None => none.insert(Worker::start(&self.command).await?),
        };
        self.made = self.made.saturating_add(1);
        let made = worker.make(request).await;
        if let Err(PictureError::Crashed | PictureError::TooSlow(_)) = &made {
            tracing::warn!("a picture decoder was ended; the picture is not shown, nothing else is touched");
        }
        made
    }

    /// Waits until the worker ends by itself; for ever when there is none.
    async fn broke(&mut self) {
        match &mut self.worker {
            Some(worker) => worker.ended().await,
            None => std::future::pending().await,
        }
    }

    async fn end(&mut self) {
        self.made = 0;
        if let Some(worker) = self.worker.take() {
            worker.end().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Coding;

    fn waiting(width: u16) -> (Waiting, oneshot::Receiver<Result<Made, PictureError>>) {
        let (answer, told) = oneshot::channel();
        (Waiting { request: Request { coding: Coding::Jpeg, width, units: vec![vec![]] }, answer }, told)
    }

    #[test]
    fn users_are_served_in_turn_whoever_asks_for_most() {
        let mut queue = Queue::default();
        let mut told = Vec::new();
        for (user, width) in [("ann", 1), ("ann", 2), ("ann", 3), ("bob", 4), ("cid", 5), ("bob", 6)] {
            let (one, answer) = waiting(width);
            queue.push(user, one).unwrap();
            told.push(answer);
        }
        let order: Vec<u16> = std::iter::from_fn(|| queue.pop()).map(|next| next.request.width).collect();
        assert_eq!(order, [1, 4, 5, 2, 6, 3]);
        assert_eq!(queue.waiting, 0);
    }

    #[test]
    fn the_queue_is_bounded_in_all_and_for_each_user_and_forgets_who_went_away() {
        let mut queue = Queue::default();
        let mut told = Vec::new();
        for number in 0..=USER_QUEUE_MAX {
            let (one, answer) = waiting(1);
            assert_eq!(queue.push("ann", one).is_ok(), number < USER_QUEUE_MAX);
            told.push(answer);
        }
        for number in 0..=USER_QUEUE_MAX {
            let (one, answer) = waiting(1);
            assert_eq!(
                queue.push(&format!("user{number}"), one).is_ok(),
                number < QUEUE_MAX - USER_QUEUE_MAX
            );
            told.push(answer);
        }
        told.clear();
        let (one, _answer) = waiting(1);
        queue.push("ann", one).unwrap();
        assert_eq!(queue.waiting, 1);
    }

    #[tokio::test]
    async fn a_program_that_is_no_worker_is_told_as_such() {
        let pictures = Pictures::new(WorkerCommand { program: "/bin/true".into(), arguments: Vec::new() });
        let request = Request { coding: Coding::Jpeg, width: 0, units: vec![vec![1]] };
        assert!(matches!(pictures.make("ann", request.clone()).await, Err(PictureError::NoWorker(_))));
        let pictures = Pictures::new(WorkerCommand { program: "/nothing".into(), arguments: Vec::new() });
        assert!(matches!(pictures.make("ann", request).await, Err(PictureError::NoWorker(_))));
    }
}
