use super::*;
use crate::watch::segments::{Seen, samples};

const FRAME: i64 = 3_600;
const START: WallTime = WallTime::from_ticks(160_000_000_000_000);
/// Pictures of a group.
const GROUP: i64 = 25;

fn video(level: u8) -> TrackConfig {
    let mut config = vec![1, 0x42, 0xc0, level, 0xff, 0xe1, 0, 10];
    config.extend_from_slice(&[0x67, 0x42, 0xc0, level, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8]);
    config.extend_from_slice(&[1, 0, 4, 0x68, 0xce, 0x3c, 0x80]);
    TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config }
}

fn tracks(level: u8) -> Tracks {
    let sound = TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: vec![] };
    [video(level), sound].into()
}

/// Picture `number`, a key frame every second.
fn picture(number: i64) -> Sample {
    Sample {
        track: 0,
        pts: number * FRAME,
        label: START.plus(number * FRAME),
        settled: true,
        key: number % GROUP == 0,
        data: number.to_be_bytes().to_vec().into(),
    }
}

/// What comes out when each picture is a piece of its own.
struct Player {
    muxer: Muxer,
    tracks: Tracks,
    pieces: Vec<Piece>,
}

impl Player {
    fn new() -> Self {
        Self { muxer: Muxer::new(false), tracks: tracks(30), pieces: Vec::new() }
    }

    fn take(&mut self, sample: Sample) {
        self.pieces.extend(self.muxer.push(&self.tracks, sample));
        self.pieces.extend(self.muxer.flush());
    }

    /// All samples of a track, with the label that each has by the last initialisation.
    fn seen(&self, track: u32) -> Vec<(WallTime, Seen)> {
        let mut all = Vec::new();
        for piece in &self.pieces {
            let of_track = samples(&piece.bytes).into_iter().filter(|seen| seen.track == track);
            all.extend(of_track.map(|seen| (piece.init.start.plus(seen.shown), seen)));
        }
        all
    }

    /// How many times it was told how to play.
    fn inits(&self) -> usize {
        1 + self.pieces.windows(2).filter(|pair| !Arc::ptr_eq(&pair[0].init, &pair[1].init)).count()
    }
}

/// Decode times go on without a hole, and nothing is shown before it is decoded.
fn joined(seen: &[(WallTime, Seen)]) {
    for pair in seen.windows(2) {
        assert_eq!(pair[0].1.decode + pair[0].1.duration, pair[1].1.decode);
    }
    assert!(seen.iter().all(|(_, seen)| seen.shown >= seen.decode));
}

#[test]
fn every_picture_is_shown_at_its_label_and_none_is_waited_for() {
    let mut player = Player::new();
    (0..100).for_each(|number| player.take(picture(number)));
    let seen = player.seen(1);
    assert_eq!((seen.len(), player.pieces.len(), player.inits()), (100, 100, 1));
    for (number, (label, seen)) in (0..).zip(&seen) {
        assert_eq!(*label, START.plus(number * FRAME));
        assert_eq!((seen.key, seen.data.as_slice()), (number % GROUP == 0, &number.to_be_bytes()[..]));
    }
    joined(&seen);
    assert!(player.pieces.iter().all(|piece| piece.frames == 1));
}

#[test]
fn a_piece_holds_what_came_together_and_a_key_frame_begins_one() {
    let mut muxer = Muxer::new(false);
    let tracks = tracks(30);
    let ended: Vec<Piece> = (0..60).filter_map(|number| muxer.push(&tracks, picture(number))).collect();
    let frames: Vec<u64> = ended.iter().chain(&muxer.flush()).map(|piece| piece.frames).collect();
    assert_eq!(frames, [25, 25, 10]);
    assert!(ended.iter().all(|piece| piece.key));
    assert_eq!((ended[1].from, ended[1].to), (START.plus(25 * FRAME), START.plus(50 * FRAME)));
    assert!(muxer.flush().is_none());
}

#[test]
fn pictures_before_the_first_key_frame_are_left_out() {
    let mut player = Player::new();
    (20..30).for_each(|number| player.take(picture(number)));
    assert_eq!(player.seen(1).len(), 5);
    player.muxer.missed();
    (31..52).for_each(|number| player.take(picture(number)));
    let seen = player.seen(1);
    assert_eq!(seen.len(), 5 + 2);
    assert_eq!(seen.last().unwrap().0, START.plus(51 * FRAME));
}

/// A session begins with arrival times; its labels are known half a second later, and are earlier.
#[test]
fn labels_that_are_settled_late_move_no_picture_and_are_told_with_the_next_key_frame() {
    let mut player = Player::new();
    let wall = START.plus(40_000);
    (0..12).for_each(|number| player.take(Sample { label: wall, settled: false, ..picture(number) }));
    (12..60).for_each(|number| player.take(picture(number)));
    let seen = player.seen(1);
    joined(&seen[..25]);
    for pair in seen.windows(2) {
        assert_eq!(pair[1].1.shown - pair[0].1.shown, FRAME, "media time goes on evenly");
    }
    assert_eq!(player.inits(), 2);
    assert!(seen[25..].iter().zip(25..).all(|((label, _), number)| *label == START.plus(number * FRAME)));
}

#[test]
fn a_camera_that_was_away_comes_back_without_a_hole_and_with_its_labels() {
    let mut player = Player::new();
    (0..50).for_each(|number| player.take(picture(number)));
    // 30 s later another session counts from elsewhere.
    let back = |number: i64| {
        let label = START.plus(30 * TICKS_PER_SECOND + number * FRAME);
        Sample { pts: 77_777 + number * FRAME, label, ..picture(number) }
    };
    (50..100).for_each(|number| player.take(back(number)));
    let seen = player.seen(1);
    assert_eq!((seen.len(), player.inits()), (100, 2));
    for pair in seen.windows(2) {
        assert_eq!(pair[1].1.shown - pair[0].1.shown, FRAME);
    }
    assert_eq!(seen[50].0, back(50).label);
}

#[test]
fn other_parameters_are_told_with_their_key_frame() {
    let mut player = Player::new();
    (0..25).for_each(|number| player.take(picture(number)));
    player.tracks = tracks(31);
    (30..60).for_each(|number| player.take(picture(number)));
    let seen = player.seen(1);
    assert_eq!((seen.len(), player.inits()), (25 + 10, 2), "those before their key frame cannot be decoded");
    assert_eq!(player.pieces.last().unwrap().init.mime, "video/mp4; codecs=\"avc1.42C01F\"");
    assert_eq!(seen.last().unwrap().0, START.plus(59 * FRAME));
}

/// A camera that reorders and does not say so.
#[test]
fn reordered_pictures_are_shown_at_their_labels_and_decoded_in_time_from_the_next_group_on() {
    let mut player = Player::new();
    for group in 0..3 {
        let order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8];
        for (place, number) in order.into_iter().enumerate() {
            player.take(Sample { key: place == 0, ..picture(group * 10 + number) });
        }
    }
    let seen = player.seen(1);
    assert_eq!(seen.len(), 30);
    for (label, seen) in &seen {
        let number = i64::from_be_bytes(seen.data.as_slice().try_into().unwrap());
        assert_eq!(*label, START.plus(number * FRAME));
    }
    joined(&seen[20..]);
}

#[test]
fn sound_joins_the_pictures_and_silence_takes_its_place() {
    let mut player = Player { muxer: Muxer::new(true), ..Player::new() };
    let packet = |number: i64| Sample {
        track: 1,
        pts: number * 160,
        label: START.plus(number * 1_800),
        data: vec![0x55; 160].into(),
        ..picture(0)
    };
    for number in 0..100 {
        player.muxer.push(&player.tracks, packet(2 * number));
        player.muxer.push(&player.tracks, packet(2 * number + 1));
        player.take(picture(number));
    }
    let heard = player.seen(2);
    assert!(heard[0].0.ticks_since(START) <= FRAME, "it begins with the pictures");
    let reaches = |heard: &[(WallTime, Seen)]| heard.last().unwrap().0.plus(heard.last().unwrap().1.duration);
    assert!(reaches(&heard) >= START.plus(99 * FRAME));
    // It breaks off.
    (100..200).for_each(|number| player.take(picture(number)));
    let heard = player.seen(2);
    assert!(START.plus(199 * FRAME).ticks_since(reaches(&heard)) <= SOUND_LATE_TICKS + TICKS_PER_SECOND / 5);
    for pair in heard.windows(2) {
        let hole = pair[1].1.decode - pair[0].1.decode - pair[0].1.duration;
        assert!((0..=9_000).contains(&hole), "{hole}");
    }
    assert_eq!(player.inits(), 1);
}

#[test]
fn a_stream_that_no_page_can_play_is_refused_and_says_why() {
    let mut player = Player::new();
    let broken = TrackConfig { config: vec![1, 2, 3], ..video(30) };
    player.tracks = [broken].into();
    player.take(picture(0));
    assert!(player.pieces.is_empty() && player.muxer.refused().is_some());
    player.tracks = tracks(30);
    player.take(picture(25));
    assert_eq!(player.muxer.refused(), None);
    assert_eq!(player.seen(1).len(), 1);
}

#[test]
fn motion_jpeg_is_sent_as_files() {
    let mut player = Player::new();
    let jpeg =
        TrackConfig { kind: CodecKind::Jpeg, clock_rate: 90_000, channels: 0, config: vec![2, 128, 1, 224] };
    player.tracks = [jpeg].into();
    (0..5).for_each(|number| player.take(Sample { key: true, ..picture(number) }));
    assert_eq!(player.pieces.len(), 5);
    let Piece { init, bytes, from, .. } = &player.pieces[4];
    assert_eq!((init.mime.as_str(), init.size), ("image/jpeg", (640, 480)));
    assert_eq!((&bytes[..], *from), (&4i64.to_be_bytes()[..], START.plus(4 * FRAME)));
}

#[test]
fn absurd_times_do_not_panic() {
    let mut player = Player { muxer: Muxer::new(true), ..Player::new() };
    for (number, pts) in (0..).zip([0, i64::MAX, i64::MIN, -1, 1 << 40, 5]) {
        for label in [WallTime::MIN, WallTime::MAX, START, WallTime::from_ticks(0)] {
            for settled in [true, false] {
                player.take(Sample { pts, label, settled, key: number % 2 == 0, ..picture(number) });
                player.take(Sample { track: 1, pts, label, settled, ..picture(number) });
                player.take(Sample { track: 9, pts, label, settled, ..picture(number) });
            }
        }
    }
}
