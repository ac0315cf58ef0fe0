//! Writes what is sent of one stream where it belongs, record by record, in the order in which it comes.

use std::sync::Arc;

use keepwatch_model::{Origin, Span, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::peer::Fate;
use keepwatch_store::{Record, StoreError};
use keepwatch_web::Problem;

use super::super::edges::Edges;
use super::super::import::{Import, NotWritten, Room, SETTLE_MAX};
use super::super::missing::{GAP_TICKS_MIN, joined};
use super::super::piece::Piece;
use crate::Node;
use crate::camera::StreamState;
use crate::peers::EdgeNode;

/// How far around a record its gap is looked at: a gap that is longer is taken up again there.
const AROUND_TICKS: i64 = 3_600 * TICKS_PER_SECOND;
/// Gaps that are filled at a time: relay and replenishment take turns.
const IMPORTS_MAX: usize = 2;

/// Who sends.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) edge: EdgeNode,
    /// This recorder's clock shows so many ticks more than the sender's.
    pub(super) ahead_ticks: i64,
}

/// Takes what is sent of one stream.
pub(super) struct Taker {
    stream: Arc<StreamState>,
    /// Gaps that are being filled, the one that was used last behind.
    imports: Vec<Import>,
}

impl std::fmt::Debug for Taker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taker").field("camera", &self.stream.camera).finish_non_exhaustive()
    }
}

impl Taker {
    pub(super) const fn new(stream: Arc<StreamState>) -> Self {
        Self { stream, imports: Vec::new() }
    }

    /// Whether it is the one of `stream`, and not of an earlier one of that name.
    pub(super) fn is_of(&self, stream: &Arc<StreamState>) -> bool {
        Arc::ptr_eq(&self.stream, stream)
    }

    /// What was being filled is looked at anew.
    pub(super) fn forget(&mut self) {
        self.imports.clear();
    }

    /// Queues what of `record` is missing here for the disk.
    ///
    /// # Errors
    /// When no disk takes it: it is to be sent again.
    pub(super) async fn take(
        &mut self,
        node: &Node,
        record: &Record,
        sender: &Sender,
    ) -> Result<Fate, Problem> {
        let mut piece = Piece::of(record);
        (piece.origin, piece.recorder, piece.replaces) = (Origin::Edge, Some(sender.edge.role), None);
        let own = |label: WallTime| label.plus(sender.ahead_ticks);
        let own = Span { from: own(piece.label.from), to: own(piece.label.to) };
        let mut import = match self.imports.iter().position(|import| import.goes_on_at(own.from)) {
            Some(place) => self.imports.remove(place),
            None => match self.begin(node, own).await? {
                Some(import) => import,
                None => return Ok(Fate::Held),
            },
        };
        import.compare_clocks(sender.ahead_ticks);
        let judged = import.judge(&piece);
        let written =
            if judged.takes_any() { self.write(&mut import, &piece, &judged).await } else { Ok(()) };
        if self.imports.len() >= IMPORTS_MAX {
            self.imports.remove(0);
        }
        match written {
            Ok(()) => {
                self.imports.push(import);
                Ok(if judged.takes_any() { Fate::Stored } else { Fate::Held })
            }
            Err(NotWritten::Refused) => Ok(Fate::Refused),
            Err(NotWritten::Full | NotWritten::NoDisk) => {
                let detail =
                    "the disks do not take what is sent; look at them, and send it again in a minute";
                Err(Problem::unavailable("no_room", detail))
            }
        }
    }

    async fn write(
        &self,
        import: &mut Import,
        piece: &Piece<'_>,
        judged: &super::super::place::Judged,
    ) -> Result<(), NotWritten> {
        let mut room = Room::of(&self.stream);
        loop {
            match import.write(piece, judged) {
                Err(NotWritten::Full) => room.wait().await?,
                written => return written,
            }
        }
    }

    /// Looks for the gap that `own` belongs into, and at what is held beside it; `None` when nothing is missing there.
    async fn begin(&self, node: &Node, own: Span) -> Result<Option<Import>, Problem> {
        // What is on its way fills gaps that stand in the ledger.
        let settled = tokio::time::timeout(SETTLE_MAX, self.stream.intake().settle()).await;
        settled.map_err(|_| Problem::unavailable("no_room", "the disks do not take what was sent before"))?;
        let Some(gap) = gap_around(&self.stream, own) else { return Ok(None) };
        let (store, key) = (node.store().clone(), (self.stream.camera, self.stream.id));
        let looked = tokio::task::spawn_blocking(move || {
            let edges = Edges::read(&store, key, gap)?;
            Ok::<_, StoreError>((store, edges))
        });
        let failed = |why: String| Problem::unavailable("index_failed", why);
        let (store, edges) = looked
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        let mut import = Import::new(&store, Arc::clone(&self.stream), edges);
        import.begin_at_any_frame();
        Ok(Some(import))
    }
}

/// What is missing around and in `own`, in one piece.
fn gap_around(stream: &StreamState, own: Span) -> Option<Span> {
    let window = Span { from: own.from.plus(-AROUND_TICKS), to: own.to.plus(AROUND_TICKS) };
    let belongs = |gap: &&Span| gap.intersection(own).is_some_and(|common| common.ticks() >= GAP_TICKS_MIN);
    joined(&stream.ledger().gaps(window)).spans().iter().find(belongs).copied()
}
