use super::*;
use keepwatch_model::CodecKind;

fn tracks() -> Tracks {
    let video = TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: vec![] };
    let sound = TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: vec![] };
    [video, sound].into()
}

fn hub() -> Arc<Hub> {
    let hub = Hub::default();
    hub.describe(&tracks());
    Arc::new(hub)
}

/// A picture every 40 ms, by number.
fn picture(number: i64, key: bool) -> Arrived<'static> {
    Arrived {
        track: 0,
        pts: number * 3_600,
        capture: WallTime::from_ticks(1_000_000 + number * 3_600),
        settled: true,
        key,
        lost_packets: 0,
        data: &[1, 2, 3],
    }
}

async fn seen(watching: &mut Watching, count: usize) -> Vec<Shown> {
    let mut all = Vec::new();
    while all.len() < count {
        match watching.next().await.unwrap() {
            Seen::Shown(shown) => all.push(shown),
            Seen::Missed(missed) => panic!("{missed} were missed"),
        }
    }
    all
}

#[tokio::test]
async fn a_later_viewer_begins_with_the_group_that_is_shown_and_shares_its_bytes() {
    let hub = hub();
    let mut first = Hub::watch(Arc::clone(&hub));
    for (number, key) in [(0, true), (1, false), (2, true), (3, false)] {
        hub.show(&picture(number, key));
    }
    let mut later = Hub::watch(Arc::clone(&hub));
    hub.show(&picture(4, false));
    let all = seen(&mut first, 5).await;
    let rest = seen(&mut later, 3).await;
    for (shown, again) in all[2..].iter().zip(&rest) {
        assert_eq!(shown.timestamp, again.timestamp);
        assert_eq!(shown.data.as_ptr(), again.data.as_ptr(), "copied once for all");
    }
    assert!(all.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) == 3_600));
}

#[tokio::test]
async fn nothing_is_kept_for_nobody() {
    let hub = hub();
    assert!(!hub.is_watched());
    let watching = Hub::watch(Arc::clone(&hub));
    assert!(hub.is_watched());
    hub.show(&picture(0, true));
    assert_eq!(hub.present().group.len(), 1);
    drop(watching);
    assert!(!hub.is_watched());
    assert!(hub.present().group.is_empty());
}

#[tokio::test]
async fn the_first_viewer_asks_for_the_open_record_and_has_the_socket_read_more_often() {
    let hub = hub();
    let unwatched = hub.read_interval().interval();
    assert!(!hub.takes_open());
    let first = Hub::watch(Arc::clone(&hub));
    let second = Hub::watch(Arc::clone(&hub));
    assert!(hub.takes_open());
    assert!(!hub.takes_open(), "once");
    assert!(hub.read_interval().interval() < unwatched);
    drop(first);
    assert!(hub.read_interval().interval() < unwatched, "one is left");
    drop(second);
    assert_eq!(hub.read_interval().interval(), unwatched);
    drop(Hub::watch(Arc::clone(&hub)));
    assert!(!hub.takes_open(), "nobody is there any more");
}

#[tokio::test]
async fn who_does_not_take_what_comes_is_told_and_holds_up_nobody() {
    let hub = hub();
    let mut slow = Hub::watch(Arc::clone(&hub));
    let sent = i64::try_from(BEHIND_MAX).unwrap() + 10;
    (0..sent).for_each(|number| hub.show(&picture(number, number == 0)));
    assert!(matches!(slow.next().await, Some(Seen::Missed(10))));
    assert!(matches!(slow.next().await, Some(Seen::Shown(_))));
}

#[tokio::test]
async fn a_jump_of_the_cameras_timestamps_is_not_shown() {
    let hub = hub();
    let mut watching = Hub::watch(Arc::clone(&hub));
    hub.show(&picture(0, true));
    // The camera was connected to again 10 s later and counts from elsewhere.
    hub.show(&Arrived { pts: 77_777_777, ..picture(250, true) });
    hub.show(&Arrived { pts: 77_777_777 + 3_600, ..picture(251, false) });
    let times: Vec<u32> = seen(&mut watching, 3).await.iter().map(|shown| shown.timestamp).collect();
    assert_eq!(times[1].wrapping_sub(times[0]), 900_000);
    assert_eq!(times[2].wrapping_sub(times[1]), 3_600);
}

#[tokio::test]
async fn a_group_that_is_too_long_is_not_kept() {
    let hub = hub();
    let _watching = Hub::watch(Arc::clone(&hub));
    (0..=i64::try_from(GROUP_MAX).unwrap()).for_each(|number| hub.show(&picture(number, number == 0)));
    assert!(hub.present().group.is_empty());
    hub.show(&picture(5_000, false));
    assert!(hub.present().group.is_empty(), "without its key frame it is worth nothing");
    hub.show(&picture(5_001, true));
    assert_eq!(hub.present().group.len(), 1);
}
