//! What leaves: records are read as there is room on the way, and what became of them is told to the machine.

use std::time::Duration;

use keepwatch_model::Span;
use keepwatch_recording::edge::{Event, Send};
use keepwatch_recording::peer::Fate;
use keepwatch_recording::replenish::StreamKey;
use tokio::task::JoinSet;

use super::Driver;
use crate::outside::{FLYING_RECORDS_MAX, Landed, Senders};
use crate::reading::{self, Ahead, Read};

/// Records that are read at a time.
pub(super) const READS_MAX: usize = 2;
/// How long the external storage is left alone that did not take what was sent.
const REST: Duration = Duration::from_secs(5);

/// A read that is over.
pub(super) struct Finished {
    pub(super) key: StreamKey,
    pub(super) send: Send,
    pub(super) read: Read,
    pub(super) ahead: Ahead,
    /// How long it waited for reads of others.
    pub(super) waited: Duration,
}

impl Driver {
    /// Reads what is to leave, as far as there is room on the way.
    pub(super) fn read_on(&mut self) {
        while self.reads.len() < READS_MAX
            && self.flying.0 < FLYING_RECORDS_MAX
            && self.flying.1 < self.window.bytes()
        {
            let Some((key, send)) = self.to_read.pop_front() else { return };
            let Some(line) = self.lines.get_mut(&key) else { continue };
            let (node, ahead) = (self.node.clone(), std::mem::take(&mut line.ahead));
            self.reads.spawn(async move {
                let (read, ahead, waited) = reading::read(&node, key, send, ahead).await;
                Finished { key, send, read, ahead, waited }
            });
        }
    }

    pub(super) fn was_read(&mut self, Finished { key, send, read, ahead, waited }: Finished) {
        self.waited_for_others += waited;
        let Some(line) = self.lines.get_mut(&key) else { return };
        line.ahead = ahead;
        let parcel = match read {
            Read::Nothing(span) => {
                // Whether the card was pulled is known first: what stood on one that is away is not lost.
                self.look_at_storages();
                return self.tell(Event::Nothing { line: key, span });
            }
            Read::Record(parcel) => parcel,
        };
        let (label, size) = (parcel.label, parcel.bytes());
        let bytes = u64::try_from(size).unwrap_or(u64::MAX);
        (line.bytes, line.records) = (line.bytes.saturating_add(bytes), line.records + 1);
        // Before what was asked for is answered, so that this is not asked for next.
        if let Some(hole) = Span::new(send.span.from, label.from) {
            self.look_at_storages();
            self.tell(Event::GaveUp { line: key, place: send.place, span: hole });
        }
        self.flying = (self.flying.0 + 1, self.flying.1.saturating_add(size));
        if self.senders.as_ref().is_some_and(|senders| senders.send(parcel)) {
            self.tell(Event::Taken { line: key, span: label, bytes });
        } else {
            self.away("what was to be sent found no connection".to_owned());
        }
    }

    pub(super) fn landed(&mut self, landed: Landed) {
        let Landed { records, bytes, took, settled, refused } = landed;
        self.flying = (self.flying.0.saturating_sub(records), self.flying.1.saturating_sub(bytes));
        if refused.is_none() {
            self.window.landed(took);
        }
        for (key, span, fate) in settled {
            if fate == Fate::Refused {
                tracing::warn!(camera = %key.0, from = %span.from, "the external storage has no place for a record");
            }
            self.outside(key, span);
        }
        if let Some(why) = refused {
            self.rests_until = Some(self.now() + REST);
            self.away(why);
        }
    }

    /// The external storage takes nothing. What is on its way is sent again, unless it is found there.
    pub(super) fn away(&mut self, why: String) {
        self.contact.failed(self.node.clock().wall(), why);
        if self.ground() {
            self.senders = self.question.as_ref().map(|question| Senders::new(&self.node, &question.storage));
        }
        self.tell(Event::External { takes: false });
    }

    /// Nothing is read or on its way any more. Whether something was.
    pub(super) fn ground(&mut self) -> bool {
        self.compared = None;
        self.to_read.clear();
        self.reads = JoinSet::new();
        std::mem::take(&mut self.flying) != (0, 0)
    }
}
