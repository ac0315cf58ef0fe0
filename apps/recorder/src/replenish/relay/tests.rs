//! An edge node that sends, and one that forges.

use axum::body::Bytes;
use keepwatch_model::{Origin, Span, State, StreamId, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::peer::{Arrived, Fate, NodeDuty, Wanted};
use keepwatch_recording::schedule::Schedule;
use keepwatch_store::Store;
use keepwatch_web::NodeError;

use super::super::tests::{EVER, Footage, gate, held, wait_until};
use super::super::wire::head;
use crate::peers::tests::{Asker, PASSWORD, Recorder, code, login};
use crate::peers::{Introduction, relay, wanted};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A recorder that is sent `gate`, and the edge node that knows it as `cam1`.
struct Pair {
    center: Recorder,
    /// Only its disks.
    edge: Recorder,
    asker: Asker,
}

impl Pair {
    async fn start() -> Self {
        let center = Recorder::start_in("center", tempfile::tempdir().unwrap(), &["gate@box", "yard"]).await;
        let edge = Recorder::start_in("box", tempfile::tempdir().unwrap(), &["cam1", "yard"]).await;
        let asker = Asker::new("box");
        let own = Introduction { role: edge.node.store().role(), duty: NodeDuty::Edge, ..asker.own };
        let asker = Asker { own, ..asker };
        asker.register(&center, &login("admin", PASSWORD)).await.unwrap();
        let pair = Self { center, edge, asker };
        // The camera has been the node's for a minute.
        let now = pair.center.node.clock().wall();
        let (begin, always) = (now.plus(-60 * TICKS_PER_SECOND), Schedule::new([]));
        let camera = pair.center.node.camera(gate()).unwrap();
        camera.main().ledger().missed_since(begin, now, &always);
        pair
    }

    /// Pictures of the camera on the edge node, the first of which is a minute old.
    fn footage(&self, begin: WallTime) -> Footage<'_> {
        Footage {
            store: self.edge.node.store(),
            camera_id: "cam1".parse().unwrap(),
            begin,
            ahead: 0,
            camera: 0,
            origin: Origin::Primary,
            replaces: None,
        }
    }

    async fn send(&self, records: Vec<Bytes>) -> Result<Arrived, NodeError> {
        let clock = self.center.node.clock().wall();
        relay(&mut self.asker.client(&self.center), records, clock, PATIENCE).await
    }

    async fn end(self) {
        self.center.end().await;
        self.edge.end().await;
    }
}

/// All records of a camera as they are sent.
fn records(store: &Store, camera: &str) -> Vec<Bytes> {
    let found = store.records(camera.parse().unwrap(), StreamId::MAIN, EVER).unwrap();
    let sent = found.iter().flat_map(|record| {
        let record = store.read(record).unwrap();
        [Bytes::copy_from_slice(&head(record.as_bytes())), Bytes::copy_from_slice(record.as_bytes())]
    });
    sent.collect()
}

fn count(store: &Store, camera: &str) -> usize {
    store.records(camera.parse().unwrap(), StreamId::MAIN, EVER).unwrap().len()
}

#[tokio::test]
async fn what_an_edge_node_sends_is_on_disk_once_and_as_its() {
    let pair = Pair::start().await;
    let begin = pair.center.node.clock().wall().plus(-50 * TICKS_PER_SECOND);
    let footage = pair.footage(begin);
    footage.record(0..300);
    wait_until("the footage is on disk", || count(pair.edge.node.store(), "cam1") == 30).await;
    let clock = pair.center.node.clock().wall();
    let asked: Wanted = wanted(&mut pair.asker.client(&pair.center), clock, PATIENCE).await.unwrap();
    let [line] = &asked.lines[..] else { panic!("one line: {asked:?}") };
    assert_eq!((line.camera, line.stream), ("cam1".parse().unwrap(), 0));
    assert!(line.missing_from < begin, "{line:?}");

    let all = records(pair.edge.node.store(), "cam1");
    // In two transfers, and then all of it once more: an answer may be lost.
    let (first, rest) = all.split_at(24);
    for part in [first.to_vec(), rest.to_vec()] {
        let sent = part.len() / 2;
        let arrived = pair.send(part).await.unwrap();
        assert_eq!(arrived.settled.len(), sent);
        assert!(arrived.settled.iter().all(|record| record.fate == Fate::Stored), "{arrived:?}");
    }
    let numbers = || held(pair.center.node.store()).0.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    assert_eq!(numbers(), (0..300).collect::<Vec<_>>());
    let again = pair.send(all).await.unwrap();
    assert!(again.settled.iter().all(|record| record.fate == Fate::Held), "{again:?}");
    assert_eq!(numbers(), (0..300).collect::<Vec<_>>(), "nothing is there twice");

    let camera = pair.center.node.camera(gate()).unwrap();
    let span = Span { from: footage.label(1), to: footage.label(299) };
    let items = camera.main().ledger().items(span, clock, &keepwatch_model::SpanSet::new());
    let its = State::Held { origin: Origin::Edge, recorder: pair.edge.node.store().role(), replaces: None };
    assert!(items.iter().all(|item| item.state == its), "{items:?}");
    // What follows is wanted from where it ends.
    let asked: Wanted = wanted(&mut pair.asker.client(&pair.center), clock, PATIENCE).await.unwrap();
    let off = asked.lines[0].missing_from.ticks_since(footage.label(300)).abs();
    assert!(off < TICKS_PER_SECOND, "{off} ticks from the end");
    pair.end().await;
}

#[tokio::test]
async fn what_nobody_wants_or_is_forged_is_not_written_and_holds_up_nothing() {
    let pair = Pair::start().await;
    let begin = pair.center.node.clock().wall().plus(-50 * TICKS_PER_SECOND);
    pair.footage(begin).record(0..20);
    // The recorder records this one itself.
    Footage { camera_id: "yard".parse().unwrap(), ..pair.footage(begin) }.record(0..10);
    let far = begin.plus(3_600 * TICKS_PER_SECOND);
    Footage { camera_id: "yard".parse().unwrap(), ..pair.footage(far) }.record(0..10);
    wait_until("the footage is on disk", || {
        count(pair.edge.node.store(), "cam1") == 2 && count(pair.edge.node.store(), "yard") == 2
    })
    .await;
    let store = pair.edge.node.store();
    let (good, other) = (records(store, "cam1"), records(store, "yard"));
    let arrived = pair.send(other[..2].to_vec()).await.unwrap();
    assert_eq!(arrived.settled.iter().map(|record| record.fate).collect::<Vec<_>>(), [Fate::Held]);
    assert_eq!(count(pair.center.node.store(), "yard"), 0);

    let cut = good[1].slice(..good[1].len() / 2);
    let mut altered = good[1].to_vec();
    altered[good[1].len() / 2] ^= 1;
    for (forged, what) in [
        (vec![good[0].clone(), Bytes::from(altered)], "altered"),
        (vec![Bytes::from_static(&[0xff; 64])], "no record"),
        (vec![good[0].clone(), Bytes::from(vec![0; good[1].len()])], "zeros"),
        (other[2..].to_vec(), "of a time to come"),
    ] {
        assert_eq!(code(pair.send(forged).await), "records_malformed", "{what}");
    }
    // What breaks off is as if it had not been sent.
    let arrived = pair.send(vec![good[0].clone(), cut]).await.unwrap();
    assert_eq!(arrived, Arrived::default());
    assert_eq!(held(pair.center.node.store()).0.len(), 0);
    // A standby, and whoever is not registered, sends nothing.
    let stranger = Asker::new("stranger");
    let clock = pair.center.node.clock().wall();
    let refused = relay(&mut stranger.client(&pair.center), good.clone(), clock, PATIENCE).await;
    assert_eq!(code(refused), "not_registered");

    let arrived = pair.send(good).await.unwrap();
    assert!(arrived.settled.iter().all(|record| record.fate == Fate::Stored), "{arrived:?}");
    assert_eq!(held(pair.center.node.store()).0.len(), 20);
    pair.end().await;
}
