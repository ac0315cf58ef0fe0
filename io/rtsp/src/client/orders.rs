//! Orders that a running session gave to the server and that are not answered yet.

use std::time::Duration;

use tokio::time::Instant;

use super::error::ClientError;
use super::remote::Command;

/// Orders that may be unanswered; a server that answers none is not to be asked more.
const PENDING_MAX: usize = 4;

/// An order that the server has not answered.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) cseq: u32,
    pub(super) command: Command,
    /// Whether it was repeated with another login.
    pub(super) repeated: bool,
    /// When it counts as never answered. That of the first attempt, if it was repeated.
    pub(super) deadline: Instant,
}

/// The orders of one session.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pending: Vec<Pending>,
    /// The numbers of those that were given up last: a late answer belongs to nobody.
    expired: Vec<u32>,
    /// How long each may take.
    timeout: Duration,
}

/// Whose answer has come.
#[derive(Debug)]
pub(super) enum Answered {
    /// That of an order.
    Order(Pending),
    /// That of an order that was given up.
    Expired,
    /// That of something else.
    Other,
}

impl Orders {
    /// No orders yet; each may take `timeout`.
    pub(super) const fn new(timeout: Duration) -> Self {
        Self { pending: Vec::new(), expired: Vec::new(), timeout }
    }

    /// Whether another one may be given.
    pub(super) const fn has_room(&self) -> bool {
        self.pending.len() < PENDING_MAX
    }

    /// By when one that is given at `now` must be answered.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        now + self.timeout
    }

    /// Takes note of an order that was given.
    pub(super) fn push(&mut self, order: Pending) {
        self.pending.push(order);
    }

    /// Whose answer is numbered `cseq`. A server that numbers its answers wrongly is understood where only one is
    /// awaited; `alone` says that no other request waits for one.
    pub(super) fn answered(&mut self, cseq: Option<u32>, alone: bool) -> Answered {
        let position = self.pending.iter().position(|pending| cseq == Some(pending.cseq));
        if position.is_none() && cseq.is_some_and(|cseq| self.expired.contains(&cseq)) {
            return Answered::Expired;
        }
        match position.or((self.pending.len() == 1 && alone).then_some(0)) {
            Some(position) => Answered::Order(self.pending.remove(position)),
            None => Answered::Other,
        }
    }

    /// Gives up what should have been answered by `now`, and tells who waits.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.pending.iter().all(|pending| now < pending.deadline) {
            return;
        }
        let (late, pending) = self.pending.drain(..).partition(|pending| pending.deadline <= now);
        self.pending = pending;
        let late: Vec<Pending> = late;
        for Pending { cseq, command, .. } in late {
            self.expired.truncate(PENDING_MAX - 1);
            self.expired.insert(0, cseq);
            let _ = command.answer.send(Err(ClientError::TimedOut(command.order.step())));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::client::outcome::Played;
    use crate::client::remote::Order;

    fn give(orders: &mut Orders, cseq: u32, now: Instant) -> oneshot::Receiver<Result<Played, ClientError>> {
        let (answer, answered) = oneshot::channel();
        let command = Command { order: Order::Pause, answer };
        orders.push(Pending { cseq, command, repeated: false, deadline: orders.deadline(now) });
        answered
    }

    #[test]
    fn an_order_that_is_not_answered_is_given_up_and_its_late_answer_is_nobodys() {
        let mut orders = Orders::new(Duration::from_secs(10));
        let now = Instant::now();
        let mut first = give(&mut orders, 5, now);
        let mut second = give(&mut orders, 6, now + Duration::from_secs(1));
        orders.expire(now + Duration::from_secs(9));
        assert!(first.try_recv().is_err());
        orders.expire(now + Duration::from_secs(10));
        assert!(matches!(first.try_recv(), Ok(Err(ClientError::TimedOut(_)))));
        assert!(second.try_recv().is_err());
        assert!(matches!(orders.answered(Some(5), true), Answered::Expired));
        assert!(matches!(orders.answered(Some(4), false), Answered::Other));
        assert!(matches!(orders.answered(Some(6), false), Answered::Order(Pending { cseq: 6, .. })));
        assert!(matches!(orders.answered(Some(6), true), Answered::Other));
    }

    #[test]
    fn a_wrong_number_is_understood_where_one_answer_is_awaited() {
        let mut orders = Orders::new(Duration::from_secs(10));
        let _first = give(&mut orders, 5, Instant::now());
        assert!(matches!(orders.answered(Some(77), false), Answered::Other));
        let second = give(&mut orders, 6, Instant::now());
        assert!(matches!(orders.answered(Some(77), true), Answered::Other), "there are two");
        drop(second);
        assert!(matches!(orders.answered(Some(6), true), Answered::Order(_)));
        assert!(matches!(orders.answered(None, true), Answered::Order(Pending { cseq: 5, .. })));
    }

    #[test]
    fn a_server_that_answers_nothing_makes_room_for_further_orders() {
        let mut orders = Orders::new(Duration::from_secs(10));
        let now = Instant::now();
        for cseq in 0..20 {
            let later = now + Duration::from_secs(u64::from(cseq) * 3);
            orders.expire(later);
            if orders.has_room() {
                drop(give(&mut orders, cseq, later));
            }
        }
        assert!(orders.expired.len() == PENDING_MAX && orders.pending.len() == PENDING_MAX);
        assert!(orders.expired.contains(&15), "{:?}", orders.expired);
    }
}
