//! Headers read back with mp4-atom, and the arithmetic of times against what a player makes of them.

use keepwatch_model::{CodecKind, Span, TrackConfig, WallTime};
use mp4_atom::{Any, Atom, Codec, Decode, FlacMetadataBlock, Ftyp, Header, Moov, StszSamples, Trak};
use proptest::prelude::*;

use super::*;

/// High profile, 320x240, with the four bytes that follow the parameter sets of that profile.
const HIGH: &[u8] = &[
    0x01, 0x64, 0x00, 0x0d, 0xff, 0xe1, 0x00, 0x19, 0x67, 0x64, 0x00, 0x0d, 0xac, 0xd9, 0x01, 0x41, 0xfb,
    0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60, 0x01,
    0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00,
];

/// Baseline profile, 320x240.
const BASELINE: &[u8] = &[
    0x01, 0x42, 0xc0, 0x0d, 0xff, 0xe1, 0x00, 0x18, 0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01,
    0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0xa4, 0x80, 0x01, 0x00,
    0x05, 0x68, 0xcb, 0x83, 0xcb, 0x20,
];

/// 2025-07-22T16:00:00Z.
const START: WallTime = WallTime::from_ticks(1_753_200_000 * 90_000);

fn h264(config: &[u8]) -> TrackConfig {
    TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: config.to_vec() }
}

fn ulaw() -> TrackConfig {
    TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: Vec::new() }
}

fn builder(window_ticks: i64) -> MovieBuilder {
    let window = Span::new(START, START.plus(window_ticks)).unwrap();
    MovieBuilder::new(MovieMeta { window, title: "Gate 3".into() })
}

fn sample(ticks: i64, key: bool) -> SampleInfo {
    SampleInfo { size_bytes: 100, pts: START.plus(ticks), duration_ticks: 0, key }
}

fn sound(ticks: i64, duration_ticks: u32) -> SampleInfo {
    SampleInfo { size_bytes: 100, pts: START.plus(ticks), duration_ticks, key: true }
}

/// A header, taken apart.
struct Parsed {
    moov: Moov,
    /// Bytes before the media.
    header_bytes: u64,
    /// What `mdat` says it holds.
    media_bytes: u64,
}

fn parse(movie: &Movie) -> Parsed {
    let mut rest = movie.header.as_slice();
    let ftyp = Ftyp::decode(&mut rest).unwrap();
    assert_eq!(ftyp.major_brand, b"isom".into());
    let Any::Moov(moov) = Any::decode(&mut rest).unwrap() else { panic!("moov comes second") };
    let mdat = Header::decode(&mut rest).unwrap();
    assert_eq!(mdat.kind, b"mdat".into());
    assert!(rest.is_empty(), "mdat comes last");
    let media_bytes = u64::try_from(mdat.size.unwrap()).unwrap();
    Parsed { moov, header_bytes: u64::try_from(movie.header.len()).unwrap(), media_bytes }
}

/// A sample as a player sees it, in media time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    decoded: i64,
    composed: i64,
    key: bool,
    size_bytes: u32,
    offset_bytes: u64,
    entry: u32,
}

/// Walks the sample tables.
fn seen(trak: &Trak) -> Vec<Seen> {
    let table = &trak.mdia.minf.stbl;
    let steps = table.stts.entries.iter().flat_map(|e| (0..e.sample_count).map(move |_| e.sample_delta));
    let mut offsets = table
        .ctts
        .iter()
        .flat_map(|ctts| ctts.entries.iter())
        .flat_map(|e| (0..e.sample_count).map(move |_| e.sample_offset));
    let mut sizes = match &table.stsz.samples {
        StszSamples::Identical { count, size } => vec![*size; usize::try_from(*count).unwrap()],
        StszSamples::Different { sizes } => sizes.clone(),
    }
    .into_iter();
    let chunks: Vec<u64> = match (&table.stco, &table.co64) {
        (Some(stco), None) => stco.entries.iter().map(|offset| u64::from(*offset)).collect(),
        (None, Some(co64)) => co64.entries.clone(),
        _ => panic!("one table of chunk offsets"),
    };
    let mut places = Vec::new();
    for (position, chunk) in chunks.into_iter().enumerate() {
        let number = u32::try_from(position + 1).unwrap();
        let shape = table.stsc.entries.iter().rev().find(|shape| shape.first_chunk <= number).unwrap();
        let mut offset = chunk;
        for _ in 0..shape.samples_per_chunk {
            let size = sizes.next().unwrap();
            places.push((offset, size, shape.sample_description_index));
            offset += u64::from(size);
        }
    }
    assert_eq!(sizes.next(), None);

    let mut decoded = 0;
    let samples: Vec<Seen> = steps
        .zip(&places)
        .zip(1..)
        .map(|((step, (offset_bytes, size_bytes, entry)), number)| {
            let key = table.stss.as_ref().is_none_or(|stss| stss.entries.contains(&number));
            let composed = decoded + if table.ctts.is_some() { offsets.next().unwrap() } else { 0 };
            let seen = Seen {
                decoded,
                composed,
                key,
                size_bytes: *size_bytes,
                offset_bytes: *offset_bytes,
                entry: *entry,
            };
            decoded += i64::from(step);
            seen
        })
        .collect();
    assert_eq!(samples.len(), places.len());
    assert_eq!(offsets.next(), None);
    assert!(trak.mdia.mdhd.duration >= u64::try_from(decoded).unwrap());
    samples
}

/// What the edit list makes of it: (empty edit in 90 kHz ticks, media time, duration in 90 kHz ticks).
fn edits(trak: &Trak) -> (u64, i64, u64) {
    let entries = &trak.edts.as_ref().unwrap().elst.as_ref().unwrap().entries;
    let (empty, edit) = match entries.as_slice() {
        [edit] => (0, edit),
        [empty, edit] => {
            assert_eq!(empty.media_time, None);
            assert!(empty.segment_duration > 0);
            (empty.segment_duration, edit)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(trak.tkhd.duration, empty + edit.segment_duration);
    (empty, i64::try_from(edit.media_time.unwrap()).unwrap(), edit.segment_duration)
}

/// Labels of the samples that are shown, in ticks from the start of the window, in the order in which they are;
/// exact where media time is 90 kHz.
fn shown(trak: &Trak) -> Vec<i64> {
    let (empty, media_time, duration) = edits(trak);
    let until = media_time + i64::try_from(duration).unwrap();
    let mut labels: Vec<i64> = seen(trak)
        .iter()
        .filter(|sample| (media_time..until).contains(&sample.composed))
        .map(|sample| sample.composed - media_time + i64::try_from(empty).unwrap())
        .collect();
    labels.sort_unstable();
    labels
}

fn video(window_ticks: i64, labels: &[i64]) -> Result<Movie, Mp4Error> {
    let mut builder = builder(window_ticks);
    let track = builder.add_track(TrackKind::Video)?;
    let samples: Vec<_> = labels.iter().zip(0..).map(|(ticks, n)| sample(*ticks, n == 0)).collect();
    builder.add_chunk(track, &h264(HIGH), &samples)?;
    builder.finish()
}

fn audio(window_ticks: i64, sounds: &[(i64, u32)]) -> Result<Movie, Mp4Error> {
    let mut builder = builder(window_ticks);
    let track = builder.add_track(TrackKind::Audio)?;
    let samples: Vec<_> = sounds.iter().map(|(ticks, duration)| sound(*ticks, *duration)).collect();
    builder.add_chunk(track, &ulaw(), &samples)?;
    builder.finish()
}

#[test]
fn another_parser_reads_what_was_planned() {
    let mut builder = builder(18_000);
    let picture = builder.add_track(TrackKind::Video).unwrap();
    let sound_track = builder.add_track(TrackKind::Audio).unwrap();
    builder.add_chunk(picture, &h264(HIGH), &[sample(0, true), sample(3_600, false)]).unwrap();
    builder.add_chunk(sound_track, &ulaw(), &[sound(0, 9_000), sound(9_000, 9_000)]).unwrap();
    builder.add_chunk(picture, &h264(BASELINE), &[sample(7_200, true), sample(10_800, false)]).unwrap();
    builder.add_chunk(picture, &h264(HIGH), &[sample(14_400, true)]).unwrap();
    let movie = builder.finish().unwrap();
    let parsed = parse(&movie);
    assert_eq!(parsed.media_bytes, 700);
    assert_eq!(movie.media_bytes, 700);
    assert_eq!(movie.file_bytes(), parsed.header_bytes + 700);

    let moov = &parsed.moov;
    assert_eq!(moov.mvhd.timescale, 90_000);
    assert_eq!(moov.mvhd.duration, 18_000);
    assert_eq!(moov.mvhd.creation_time, 1_753_200_000 + 2_082_844_800);
    assert_eq!(moov.mvhd.next_track_id, 3);
    let [video, audio] = moov.trak.as_slice() else { panic!("two tracks") };

    assert_eq!((video.tkhd.track_id, audio.tkhd.track_id), (1, 2));
    assert_eq!((video.tkhd.width.integer(), video.tkhd.height.integer()), (320, 240));
    assert_eq!(video.mdia.hdlr.handler, b"vide".into());
    assert_eq!(video.mdia.mdhd.timescale, 90_000);
    let entries = &video.mdia.minf.stbl.stsd.codecs;
    assert_eq!(entries.len(), 2, "a configuration that comes back has its entry");
    for (entry, config) in entries.iter().zip([HIGH, BASELINE]) {
        let Codec::Avc1(avc1) = entry else { panic!("avc1") };
        let mut written = Vec::new();
        avc1.avcc.encode_body(&mut written).unwrap();
        assert_eq!(written, config, "the configuration is passed on unchanged");
        assert_eq!((avc1.visual.width, avc1.visual.height), (320, 240));
    }
    let start = parsed.header_bytes;
    let samples = seen(video);
    let offsets: Vec<u64> = samples.iter().map(|sample| sample.offset_bytes - start).collect();
    assert_eq!(offsets, [0, 100, 400, 500, 600]);
    assert_eq!(samples.iter().map(|sample| sample.entry).collect::<Vec<_>>(), [1, 1, 2, 2, 1]);
    assert_eq!(samples.iter().map(|sample| sample.key).collect::<Vec<_>>(), [true, false, true, false, true]);
    assert_eq!(edits(video), (0, 0, 18_000));

    assert_eq!(audio.mdia.hdlr.handler, b"soun".into());
    assert_eq!(audio.mdia.mdhd.timescale, 8_000);
    let [Codec::Flac(flac)] = audio.mdia.minf.stbl.stsd.codecs.as_slice() else { panic!("fLaC") };
    assert_eq!((flac.audio.channel_count, flac.audio.sample_rate.integer()), (1, 8_000));
    let [FlacMetadataBlock::StreamInfo { sample_rate, bits_per_sample_minus_one, .. }] =
        flac.dfla.blocks.as_slice()
    else {
        panic!("one STREAMINFO")
    };
    assert_eq!((*sample_rate, *bits_per_sample_minus_one), (8_000, 15));
    let offsets: Vec<u64> = seen(audio).iter().map(|sample| sample.offset_bytes - start).collect();
    assert_eq!(offsets, [200, 300]);
    assert_eq!(edits(audio), (0, 0, 18_000));
}

/// The STREAMINFO of the sample entry is the one that the encoder speaks of.
#[test]
fn the_sample_entry_holds_the_stream_info_of_the_encoder() {
    let movie = audio(9_000, &[(0, 9_000)]).unwrap();
    let info = crate::flac::G711Frames::new(&ulaw()).unwrap().stream().info(0).to_bytes();
    let position = movie.header.windows(4).position(|kind| kind == b"dfLa").unwrap();
    let [_, _, _, _, last, 0, 0, 34, body @ ..] = &movie.header[position + 4..] else { panic!("dfLa") };
    assert_eq!(*last, 0x80);
    assert_eq!(body[..34], info);
}

#[test]
fn title_and_start_stand_where_players_look() {
    let movie = video(90_000, &[0]).unwrap();
    let has = |text: &[u8]| movie.header.windows(text.len()).any(|window| window == text);
    assert!(has(b"\xa9nam\x00\x00\x00\x16data\x00\x00\x00\x01\x00\x00\x00\x00Gate 3"));
    assert!(has(b"2025-07-22T16:00:00.000000Z"));
}

#[test]
fn a_title_is_bounded_and_holds_no_control_characters() {
    let window = Span::new(START, START.plus(1)).unwrap();
    let title = format!("a\n\0{}", "ß".repeat(1_000));
    let builder = MovieBuilder::new(MovieMeta { window, title });
    assert_eq!(builder.meta.title, format!("a{}", "ß".repeat(TITLE_CHARS_MAX - 1)));
}

/// Window, labels in decode order; expected: empty edit, media time, duration.
#[test]
fn video_edits_show_the_window_and_no_more() {
    type Row<'a> = (i64, &'a [i64], (u64, i64, u64));
    let rows: &[Row<'_>] = &[
        // As recorded: the last frame ends with the window.
        (10_800, &[0, 3_600, 7_200], (0, 0, 10_800)),
        // The window ends within the last frame.
        (8_000, &[0, 3_600, 7_200], (0, 0, 8_000)),
        // Nothing follows: the last frame lasts as long as the one before, and the window is not filled.
        (90_000, &[0, 3_600, 7_200], (0, 0, 10_800)),
        // A single frame lasts a second at most.
        (900_000, &[0], (0, 0, 90_000)),
        (9_000, &[0], (0, 0, 9_000)),
        // A frame is needed from behind the window: the last one inside lasts until the window ends.
        (9_000, &[0, 10_800, 3_600, 7_200], (0, 3_600, 9_000)),
        // Pre-roll of two frames; the window begins between frames.
        (90_000, &[-5_000, -1_400, 2_200, 5_800], (2_200, 7_200, 7_200)),
        // Pre-roll, and a frame exactly at the start.
        (3_600, &[-3_600, 0, 3_600], (0, 3_600, 3_600)),
        // Footage begins late.
        (90_000, &[45_000, 48_600], (45_000, 0, 7_200)),
        // A gap stretches the frame before it.
        (900_000, &[0, 3_600, 450_000, 453_600], (0, 0, 457_200)),
        // B-frames: I at 0, P at 3, B at 1 and 2; the shift by one frame is taken back.
        (14_400, &[0, 10_800, 3_600, 7_200], (0, 3_600, 14_400)),
        // Labels go back by two seconds: every frame stays at its label.
        (900_000, &[180_000, 183_600, 0, 3_600], (0, 180_000, 187_200)),
    ];
    for (window, labels, expected) in rows {
        let parsed = parse(&video(*window, labels).unwrap());
        let [trak] = parsed.moov.trak.as_slice() else { panic!("one track") };
        assert_eq!(edits(trak), *expected, "{window} {labels:?}");
        let mut inside: Vec<i64> =
            labels.iter().copied().filter(|label| (0..*window).contains(label)).collect();
        inside.sort_unstable();
        assert_eq!(shown(trak), inside, "{window} {labels:?}");
    }
}

/// Window, (label, duration); expected: empty edit, media time in 8 kHz, duration.
#[test]
fn audio_edits_cut_within_a_frame() {
    type Row<'a> = (i64, &'a [(i64, u32)], (u64, i64, u64));
    let rows: &[Row<'_>] = &[
        (18_000, &[(0, 9_000), (9_000, 9_000)], (0, 0, 18_000)),
        // Cut at both ends: a quarter and a half of a frame are left out.
        (11_250, &[(-2_250, 9_000), (6_750, 9_000)], (0, 200, 11_250)),
        // Sound begins late and ends early.
        (90_000, &[(9_000, 9_000), (18_000, 4_500)], (9_000, 0, 13_500)),
        // What sounds before the window has ended before it: not a sample of it is heard.
        (90_000, &[(-18_000, 9_000), (9_000, 9_000)], (9_000, 2_400, 9_000)),
        // It reaches into the window, and a gap follows.
        (90_000, &[(-4_500, 9_000), (45_000, 9_000)], (0, 400, 54_000)),
        // The only frame spans the window.
        (900, &[(-900, 9_000)], (0, 80, 900)),
        // Without a duration a frame lasts until the next.
        (18_000, &[(-9_000, 0), (9_000, 0)], (0, 800, 18_000)),
    ];
    for (window, sounds, expected) in rows {
        let parsed = parse(&audio(*window, sounds).unwrap());
        let [trak] = parsed.moov.trak.as_slice() else { panic!("one track") };
        assert_eq!(edits(trak), *expected, "{window} {sounds:?}");
    }
    for silent in [&[(-9_000, 9_000)][..], &[(-9_000, 100)], &[(90_000, 9_000)]] {
        assert!(matches!(audio(90_000, silent), Err(Mp4Error::Empty(_))));
    }
}

#[test]
fn a_track_without_a_sample_inside_is_left_out() {
    let mut builder = builder(90_000);
    let picture = builder.add_track(TrackKind::Video).unwrap();
    let late = builder.add_track(TrackKind::Audio).unwrap();
    builder.add_track(TrackKind::Audio).unwrap();
    builder.add_chunk(late, &ulaw(), &[sound(90_000, 9_000)]).unwrap();
    builder.add_chunk(picture, &h264(HIGH), &[sample(0, true)]).unwrap();
    let movie = builder.finish().unwrap();
    let parsed = parse(&movie);
    let [trak] = parsed.moov.trak.as_slice() else { panic!("one track") };
    assert_eq!(
        seen(trak)[0].offset_bytes,
        parsed.header_bytes + 100,
        "the media of the other is still there"
    );
    assert_eq!(movie.media_bytes, 200);
}

/// Media players read the steps as signed: a gap of more than 6.6 hours makes the media time coarser.
#[test]
fn a_long_gap_makes_time_coarser_and_moves_nothing_over_the_edge() {
    let hour = 3_600 * 90_000;
    for (gap, rate) in [(6 * hour, 90_000), (7 * hour, 9_000), (65 * hour, 9_000), (27 * 24 * hour, 900)] {
        let window = gap + 90_003;
        let labels = [-7, 3_601, 7_207, gap, gap + 90_002, gap + 90_003];
        let parsed = parse(&video(window, &labels).unwrap());
        let [trak] = parsed.moov.trak.as_slice() else { panic!("one track") };
        assert_eq!(trak.mdia.mdhd.timescale, rate);
        let (empty, media_time, duration) = edits(trak);
        assert_eq!((empty, duration), (3_601, u64::try_from(window - 3_601).unwrap()));
        let until = media_time + (i64::try_from(duration).unwrap() * i64::from(rate)).div_ceil_exact();
        let inside = seen(trak).iter().filter(|s| (media_time..until).contains(&s.composed)).count();
        assert_eq!(inside, 4, "{gap}");
        for (sample, label) in seen(trak).iter().zip(labels) {
            let off = (sample.composed - media_time + 3_601 * i64::from(rate) / 90_000) * 90_000
                - label * i64::from(rate);
            assert!(off.abs() < 2 * 90_000, "{label} is off by {off}");
        }
    }
    assert!(matches!(video(i64::MAX, &[0, 28 * 24 * hour]), Err(Mp4Error::Gap(_))));
    // Labels that go back need an offset of twice the distance, and offsets are bounded more closely than steps.
    assert!(video(i64::MAX, &[41 * hour, 0]).is_ok());
    assert!(matches!(video(i64::MAX, &[42 * hour, 0]), Err(Mp4Error::Gap(_))));
}

trait DivCeilExact {
    fn div_ceil_exact(self) -> i64;
}

impl DivCeilExact for i64 {
    /// Divided by 90,000, rounded as a player does: up.
    fn div_ceil_exact(self) -> i64 {
        -(-self).div_euclid(90_000)
    }
}

#[test]
fn large_files_have_large_offsets() {
    let big = |count: usize| {
        let mut builder = builder(900_000);
        let track = builder.add_track(TrackKind::Video).unwrap();
        for n in 0..count {
            let ticks = 3_600 * i64::try_from(n).unwrap();
            let sample = SampleInfo { size_bytes: 1_500_000_000, ..sample(ticks, true) };
            builder.add_chunk(track, &h264(HIGH), &[sample]).unwrap();
        }
        builder.finish().unwrap()
    };
    for (count, wide, mdat_bytes) in [(1, false, 8), (2, false, 8), (3, true, 16)] {
        let movie = big(count);
        let parsed = parse(&movie);
        let [trak] = parsed.moov.trak.as_slice() else { panic!("one track") };
        assert_eq!(trak.mdia.minf.stbl.co64.is_some(), wide);
        assert_eq!(parsed.media_bytes, 1_500_000_000 * u64::try_from(count).unwrap());
        assert_eq!(movie.header[movie.header.len() - mdat_bytes + 4..][..4], *b"mdat");
        let last = seen(trak).last().unwrap().offset_bytes;
        assert_eq!(last, parsed.header_bytes + 1_500_000_000 * u64::try_from(count - 1).unwrap());
    }
}

#[test]
fn wrong_input_is_refused() {
    let mut one = builder(90_000);
    let picture = one.add_track(TrackKind::Video).unwrap();
    let sound_track = one.add_track(TrackKind::Audio).unwrap();
    let mut add = |track, config: &TrackConfig, sample: SampleInfo| one.add_chunk(track, config, &[sample]);
    assert!(matches!(add(picture, &h264(HIGH), sample(0, false)), Err(Mp4Error::KeyFrameMissing(START))));
    assert!(matches!(add(picture, &ulaw(), sample(0, true)), Err(Mp4Error::Kind { .. })));
    assert!(matches!(add(sound_track, &h264(HIGH), sample(0, true)), Err(Mp4Error::Kind { .. })));
    for length in 0..HIGH.len() {
        // Without its last four bytes the record is that of an older writer, and usable.
        let cut = add(picture, &h264(&HIGH[..length]), sample(0, true));
        assert_eq!(cut.is_ok(), length == HIGH.len() - 4, "{length}");
    }
    let mut short_lengths = HIGH.to_vec();
    short_lengths[4] = 0xfc;
    assert!(matches!(add(picture, &h264(&short_lengths), sample(0, true)), Err(Mp4Error::Config(_))));
    let no_clock = TrackConfig { clock_rate: 0, ..ulaw() };
    assert!(matches!(add(sound_track, &no_clock, sample(0, true)), Err(Mp4Error::Config(_))));
    for far in [WallTime::MIN, WallTime::MAX] {
        let sample = SampleInfo { pts: far, ..sample(0, true) };
        assert!(matches!(add(picture, &h264(HIGH), sample), Err(Mp4Error::Label(_))));
    }
    assert!(matches!(add(TrackHandle(7), &h264(HIGH), sample(0, true)), Err(Mp4Error::Tracks)));
    assert!(matches!(builder(90_000).finish(), Err(Mp4Error::Empty(_))));

    let mut full = builder(90_000);
    let track = full.add_track(TrackKind::Video).unwrap();
    full.samples = SAMPLES_MAX;
    assert!(full.add_chunk(track, &h264(HIGH), &[]).is_ok());
    assert!(matches!(full.add_chunk(track, &h264(HIGH), &[sample(0, true)]), Err(Mp4Error::TooManySamples)));
    while full.add_track(TrackKind::Audio).is_ok() {}
    assert_eq!(full.tracks.len(), TRACKS_MAX);
}

#[test]
fn configurations_are_counted_and_bounded() {
    let mut builder = builder(90_000);
    let track = builder.add_track(TrackKind::Audio).unwrap();
    for rate in 1..=1_000 {
        let config = TrackConfig { clock_rate: rate, ..ulaw() };
        builder.add_chunk(track, &config, &[sound(0, 10)]).unwrap();
        builder.add_chunk(track, &config, &[sound(0, 10)]).unwrap();
    }
    assert_eq!(builder.tracks[0].entries.len(), CONFIGS_MAX);
    let another = TrackConfig { clock_rate: 1_001, ..ulaw() };
    assert!(matches!(builder.add_chunk(track, &another, &[sound(0, 10)]), Err(Mp4Error::TooManyConfigs)));
}

/// Groups of pictures in decode order: an anchor, then the B-frames shown before it; with jitter and gaps.
fn footage() -> impl Strategy<Value = Vec<(i64, bool)>> {
    let frames = prop::collection::vec(
        (0usize..4, 3_000i64..4_000, prop_oneof![9 => Just(0i64), 1 => 1..900_000i64]),
        1..60,
    );
    (frames, -200_000i64..100_000).prop_map(|(groups, start)| {
        let mut samples = Vec::new();
        let mut shown = start;
        for (group, (b_frames, interval, gap)) in groups.into_iter().enumerate() {
            let key = group == 0 || gap > 0;
            // A run begins with a key frame that nothing is shown before.
            let b_frames = if key { 0 } else { b_frames };
            shown += gap;
            let anchor = shown + interval * i64::try_from(b_frames).unwrap();
            samples.push((anchor, key));
            samples.extend((0..b_frames).map(|n| (shown + interval * i64::try_from(n).unwrap(), false)));
            shown = anchor + interval;
        }
        samples
    })
}

fn chunked(window: i64, samples: &[(i64, bool)], lengths: &[usize]) -> Result<Movie, Mp4Error> {
    let mut builder = builder(window);
    let track = builder.add_track(TrackKind::Video)?;
    let samples: Vec<SampleInfo> = samples
        .iter()
        .zip(0u32..)
        .map(|((ticks, key), n)| SampleInfo { size_bytes: n * 31 % 1_000 + 1, ..sample(*ticks, *key) })
        .collect();
    let mut rest = samples.as_slice();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(rest.len().min(*length));
        rest = after;
        builder.add_chunk(track, &h264(HIGH), chunk)?;
    }
    builder.finish()
}

proptest! {
    /// Exactly the frames of the window are shown, each at its label, and decode times ascend; the tables do not
    /// depend on how the samples were cut into chunks.
    #[test]
    fn every_frame_of_the_window_is_shown_at_its_label(
        samples in footage(),
        window in 1i64..500_000,
        lengths in prop::collection::vec(1usize..20, 1..5),
        other_lengths in prop::collection::vec(1usize..20, 1..5),
    ) {
        let mut inside: Vec<i64> =
            samples.iter().map(|sample| sample.0).filter(|label| (0..window).contains(label)).collect();
        inside.sort_unstable();
        match chunked(window, &samples, &lengths) {
            Err(Mp4Error::Empty(_)) => prop_assert!(inside.is_empty()),
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
            Ok(movie) => {
                let parsed = parse(&movie);
                let trak = &parsed.moov.trak[0];
                prop_assert_eq!(shown(trak), inside);
                let seen = seen(trak);
                prop_assert!(seen.windows(2).all(|pair| pair[0].decoded < pair[1].decoded));
                prop_assert!(seen.iter().all(|sample| sample.composed >= sample.decoded));
                let mut offset = parsed.header_bytes;
                for (sample, (label, key)) in seen.iter().zip(&samples) {
                    prop_assert_eq!(sample.composed - seen[0].composed, label - samples[0].0);
                    prop_assert_eq!(sample.key, *key);
                    prop_assert_eq!(sample.offset_bytes, offset);
                    offset += u64::from(sample.size_bytes);
                }
                prop_assert_eq!(offset, movie.file_bytes());
                let (_, media_time, duration) = edits(trak);
                let edited = u64::try_from(media_time).unwrap() + duration;
                prop_assert!(edited <= trak.mdia.mdhd.duration);

                let again = chunked(window, &samples, &lengths).unwrap();
                prop_assert_eq!(&again, &movie, "the same plan gives the same bytes");
                let other = parse(&chunked(window, &samples, &other_lengths).unwrap());
                let (table, other) = (&trak.mdia.minf.stbl, &other.moov.trak[0].mdia.minf.stbl);
                prop_assert_eq!(&table.stts, &other.stts);
                prop_assert_eq!(&table.ctts, &other.ctts);
                prop_assert_eq!(&table.stss, &other.stss);
                prop_assert_eq!(&table.stsz, &other.stsz);
            }
        }
    }

    /// Labels in any order, equal ones among them: each frame still at its label, or a clear error.
    #[test]
    fn labels_in_disorder_stay_exact(labels in prop::collection::vec(-300_000i64..300_000, 1..80)) {
        match video(200_000, &labels) {
            Ok(movie) => {
                let parsed = parse(&movie);
                let mut inside: Vec<i64> =
                    labels.iter().copied().filter(|label| (0..200_000).contains(label)).collect();
                inside.sort_unstable();
                prop_assert_eq!(shown(&parsed.moov.trak[0]), inside);
            }
            Err(Mp4Error::Empty(_)) => {}
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }

    /// Nothing that an index can say makes it panic.
    #[test]
    fn any_index_gives_a_file_or_an_error(
        from: i64,
        to: i64,
        kinds in prop::collection::vec(any::<bool>(), 1..3),
        chunks in prop::collection::vec(
            (0usize..4, prop::collection::vec((any::<u32>(), any::<i64>(), any::<u32>(), any::<bool>()), 0..5)),
            0..8,
        ),
        near: bool,
        rate: u32,
        channels: u8,
        config in prop_oneof![Just(HIGH.to_vec()), prop::collection::vec(any::<u8>(), 0..60)],
    ) {
        let Some(window) = Span::new(WallTime::from_ticks(from), WallTime::from_ticks(to)) else { return Ok(()) };
        let mut builder = MovieBuilder::new(MovieMeta { window, title: String::new() });
        for video in kinds {
            builder.add_track(if video { TrackKind::Video } else { TrackKind::Audio }).unwrap();
        }
        for (track, samples) in chunks {
            let samples: Vec<_> = samples
                .into_iter()
                .map(|(size_bytes, ticks, duration_ticks, key)| {
                    let pts = if near { window.from.plus(ticks >> 20) } else { WallTime::from_ticks(ticks) };
                    SampleInfo { size_bytes, pts, duration_ticks, key }
                })
                .collect();
            for config in [h264(&config), TrackConfig { clock_rate: rate, channels, ..ulaw() }, ulaw()] {
                let _ = builder.add_chunk(TrackHandle(track), &config, &samples);
            }
        }
        if let Ok(movie) = builder.finish() {
            parse(&movie);
        }
    }
}
