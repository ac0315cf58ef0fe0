//! Footage from another recorder: asked for, received record by record, and written.

use std::time::{Duration, Instant};

use keepwatch_model::{Span, TICKS_PER_SECOND};
use keepwatch_recording::replenish::JobEnd;
use keepwatch_store::Record;
use keepwatch_tls::{NodePublicKey, peer};
use keepwatch_web::{NodeClient, NodeError, NodeStream};

use super::conduct::{Behind, Conduct, Misconduct};
use super::course::Passage;
use super::import::{Import, NotWritten, Room};
use super::piece::Piece;
use super::place::Judged;
use super::wire::{BUSY, CLOCK_AHEAD, Found, Incoming};
use crate::Node;
use crate::camera::StreamState;
use crate::peers::Standby;

/// How long the other recorder may take to begin, and from one piece to the next: it lets its own cameras and viewers go
/// first.
const PATIENCE: Duration = Duration::from_secs(60);
/// Footage around the gap that is asked for: in which frames are found that both hold.
const AROUND_TICKS: i64 = 15 * TICKS_PER_SECOND;
/// How often a transfer goes on behind the last record before it counts as broken off.
const RESUMES_MAX: u32 = 3;

/// Fetches what `standby` has for `gap`, which `import` fills.
pub(super) async fn receive(
    node: &Node,
    standby: &Standby,
    stream: &StreamState,
    (gap, import): (Span, &mut Import),
    passage: &Passage,
) -> JobEnd {
    let mut progress = Progress { behind: None, last: None };
    let mut resumes = 0;
    let end = loop {
        let before = progress.behind;
        let end = transfer(node, standby, stream, (gap, import), passage, &mut progress).await;
        // What broke off goes on behind the last record, as long as that brings more.
        resumes += 1;
        if end != JobEnd::Unreachable || progress.behind == before || resumes > RESUMES_MAX {
            break end;
        }
    };
    match progress.last {
        Some((record, judged)) => put(stream, import, &record, &judged).await.err().unwrap_or(end),
        None => end,
    }
}

/// How far a job has come.
struct Progress {
    behind: Behind,
    /// The last record, which is written when the next one was judged.
    last: Option<(Box<Record>, Judged)>,
}

async fn transfer(
    node: &Node,
    standby: &Standby,
    stream: &StreamState,
    (gap, import): (Span, &mut Import),
    passage: &Passage,
    progress: &mut Progress,
) -> JobEnd {
    let window = Span { from: gap.from.plus(-AROUND_TICKS), to: gap.to.plus(AROUND_TICKS) };
    let mut answer = match ask(node, standby, stream, window, progress.behind, passage).await {
        Ok(answer) => answer,
        Err(end) => return end,
    };
    let ahead: Option<i64> = answer.header(CLOCK_AHEAD).and_then(|ticks| ticks.parse().ok());
    if let Some(ahead) = ahead {
        import.compare_clocks(ahead.saturating_neg());
    }
    let by_its_clock = |ahead| Span { from: window.from.plus(ahead), to: window.to.plus(ahead) };
    let mut conduct = Conduct::new(ahead.map(by_its_clock));
    let broken = |why: &dyn std::fmt::Display| {
        tracing::warn!(standby = %standby.name, %why, "footage does not come as it should");
        passage.course.trouble(why);
        JobEnd::Unreachable
    };
    let mut incoming = Incoming::default();
    loop {
        match incoming.next() {
            Ok(Found::More) => {}
            Ok(Found::End) => return JobEnd::Over,
            Ok(Found::Record(record)) => {
                let info = record.index().info;
                if let Err(error) = conduct.record(&info, progress.behind) {
                    return broken(&error);
                }
                progress.behind = Some((info.label.from, info.run));
                let mut judged = import.judge(&Piece::of(&record));
                if let Some((before, mut last)) = progress.last.take() {
                    last.followed_by(&mut judged);
                    if let Err(end) = put(stream, import, &before, &last).await {
                        return end;
                    }
                }
                let (is_last, of_use) = (judged.is_last, judged.takes_any());
                let bytes = record.as_bytes().len();
                progress.last = Some((record, judged));
                if is_last {
                    return JobEnd::Over;
                }
                match conduct.judged(of_use, bytes) {
                    Ok(()) => continue,
                    // It has nothing that fits: more of it would be no better.
                    Err(error @ Misconduct::Useless) => {
                        let _ = broken(&error);
                        return JobEnd::Over;
                    }
                    Err(error) => return broken(&error),
                }
            }
            Err(error) => return broken(&error),
        }
        let asked = Instant::now();
        let piece = answer.piece(PATIENCE).await;
        if let Err(error) = conduct.waited(asked.elapsed()) {
            return broken(&error);
        }
        match piece {
            Ok(Some(piece)) => {
                passage.pass(piece.len()).await;
                incoming.push(&piece);
            }
            // Without the mark of the end it is not all.
            Ok(None) => return broken(&"the connection ended in the middle"),
            Err(error) => return broken(&error),
        }
    }
}

async fn ask(
    node: &Node,
    standby: &Standby,
    stream: &StreamState,
    window: Span,
    behind: Behind,
    passage: &Passage,
) -> Result<NodeStream, JobEnd> {
    let unusable = |error: keepwatch_tls::IdentityError| {
        tracing::error!(%error, "the key of this node cannot be used");
        passage.course.trouble(error);
        JobEnd::Refused
    };
    let key = node.node_key().await.map_err(unusable)?;
    let tls = peer::client_config(&key, Some(NodePublicKey::new(standby.key.0))).map_err(unusable)?;
    let mut target = format!(
        "/peer/records?camera={}&stream={}&from={}&to={}&clock={}",
        stream.camera,
        stream.id.0,
        window.from,
        window.to,
        node.clock().wall(),
    );
    if let Some((label, run)) = behind {
        target.push_str(&format!("&after={}.{}", label.ticks(), run.0));
    }
    let mut client = NodeClient::new(standby.address, tls);
    client.stream(&target, PATIENCE).await.map_err(|error| {
        tracing::debug!(standby = %standby.name, %error, "no footage is given");
        passage.course.trouble(&error);
        match error {
            NodeError::Refused { code, .. } if code == "camera_unknown" => JobEnd::Over,
            NodeError::Refused { code, .. } if code == BUSY => JobEnd::Busy,
            NodeError::Refused { .. }
            | NodeError::Other(_)
            | NodeError::NoNode
            | NodeError::Unexpected(_) => JobEnd::Refused,
            NodeError::Unreachable(_) | NodeError::Late | NodeError::Broken(_) => JobEnd::Unreachable,
        }
    })
}

/// Writes what of `record` fills the gap.
async fn put(
    stream: &StreamState,
    import: &mut Import,
    record: &Record,
    judged: &Judged,
) -> Result<(), JobEnd> {
    let piece = Piece::of(record);
    let mut room = Room::of(stream);
    loop {
        match import.write(&piece, judged) {
            Ok(()) => return Ok(()),
            Err(NotWritten::Full) => room.wait().await.map_err(|_| JobEnd::NoRoom)?,
            Err(not_written) => return Err(not_written.end()),
        }
    }
}
