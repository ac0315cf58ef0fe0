//! Every coding that a camera may send, there and back: encoded by ffmpeg, sent and received as RTP, put into an MP4 file,
//! and decoded by ffmpeg again. What ffmpeg decodes of the file must be what it decodes of its own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keepwatch_it::run;
use keepwatch_media::depacketize::Depacketizer;
use keepwatch_media::mp4::{MovieBuilder, MovieMeta, SampleInfo, TrackKind};
use keepwatch_media::packetize::{Packetizer, PacketizerConfig};
use keepwatch_media::rtp::RtpPacket;
use keepwatch_media::text::{Frame, Framer};
use keepwatch_media::{aac, h265, nal};
use keepwatch_model::{CodecKind, Span, TICKS_PER_SECOND, TrackConfig, WallTime};

/// How long ffmpeg may take for two seconds of small pictures on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// 2025-07-22T16:00:00Z.
const START: WallTime = WallTime::from_ticks(1_753_200_000 * 90_000);

fn ffmpeg(arguments: &[&str], path: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y"]).args(arguments).arg(path);
    run(&mut command, PATIENCE).unwrap().success().unwrap();
}

fn probe(path: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-of", "csv=p=0"]).args(arguments).arg(path);
    run(&mut command, PATIENCE).unwrap().success().unwrap().trim().to_owned()
}

/// The checksums of all that ffmpeg decodes of one stream, without its times.
fn decoded(path: &Path, stream: &str) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(path);
    command.args(["-map", stream, "-fps_mode", "passthrough", "-f", "framemd5", "-"]);
    let text = run(&mut command, PATIENCE).unwrap().success().unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sums: Vec<_> =
        lines.filter_map(|line| line.rsplit(',').next()).map(|sum| sum.trim().to_owned()).collect();
    assert!(!sums.is_empty(), "nothing was decoded of {}", path.display());
    sums
}

/// A sample as it came out of RTP.
struct Received {
    data: Vec<u8>,
    timestamp: i64,
    key: bool,
}

/// Sends samples `step` ticks apart and receives them; the configuration is the one that was learned.
fn through_rtp(config: &TrackConfig, step: u32, samples: &[Vec<u8>]) -> (TrackConfig, Vec<Received>) {
    let mut packetizer = Packetizer::new(PacketizerConfig {
        kind: config.kind,
        channels: config.channels,
        interleaved_channel: 0,
        payload_type: 96,
        ssrc: 1,
        first_sequence: 65_500,
    });
    let mut depacketizer = Depacketizer::new(config).unwrap();
    let mut received = Vec::new();
    let mut sink = |sample: keepwatch_media::depacketize::Sample<'_>| {
        assert_eq!(sample.lost_packets, 0);
        received.push(Received { data: sample.data.to_vec(), timestamp: sample.timestamp, key: sample.key });
    };
    let mut timestamp = 0u32;
    for sample in samples {
        let (mut out, mut at, mut framer) = (Vec::new(), 0, Framer::new());
        packetizer.push(timestamp, &[sample], &mut out).unwrap();
        while let Some(Frame::Interleaved { data, .. }) = framer.next(&out, &mut at).unwrap() {
            depacketizer.push(&RtpPacket::parse(data).unwrap(), &mut sink).unwrap();
        }
        timestamp += step;
    }
    depacketizer.flush(&mut sink);
    (depacketizer.config().clone(), received)
}

/// Writes a file of one track in a window that begins `from_ticks` of 90 kHz after the first sample.
fn write_movie(path: &Path, kind: TrackKind, config: &TrackConfig, from_ticks: i64, received: &[Received]) {
    let rate = i64::from(config.clock_rate);
    let span = |position: usize| {
        let next = received.get(position + 1).map_or(0, |next| next.timestamp);
        (next - received[position].timestamp).max(0) * TICKS_PER_SECOND / rate
    };
    let infos: Vec<SampleInfo> = received
        .iter()
        .enumerate()
        .map(|(position, sample)| SampleInfo {
            size_bytes: u32::try_from(sample.data.len()).unwrap(),
            pts: START.plus((sample.timestamp - received[0].timestamp) * TICKS_PER_SECOND / rate),
            duration_ticks: if kind == TrackKind::Audio { u32::try_from(span(position)).unwrap() } else { 0 },
            key: sample.key,
        })
        .collect();
    let window = Span::new(START.plus(from_ticks), START.plus(600 * TICKS_PER_SECOND)).unwrap();
    let mut builder = MovieBuilder::new(MovieMeta { window, title: "codecs".into() });
    let track = builder.add_track(kind).unwrap();
    builder.add_chunk(track, config, &infos).unwrap();
    let mut file = builder.finish().unwrap().header;
    received.iter().for_each(|sample| file.extend_from_slice(&sample.data));
    std::fs::write(path, file).unwrap();
}

/// The access units of an H.265 stream: each begins with a unit that can only stand before a picture, or with the first
/// slice of one.
fn access_units(stream: &[u8]) -> Vec<Vec<u8>> {
    let (mut samples, mut open, mut slices) = (Vec::new(), Vec::new(), false);
    for unit in nal::annex_b_units(stream) {
        let kind = h265::UnitKind::of(unit).unwrap();
        let first = kind.is_slice() && unit[2] & 0x80 != 0;
        if slices && (first || kind.begins_access_unit()) {
            samples.push(std::mem::take(&mut open));
            slices = false;
        }
        slices |= kind.is_slice();
        nal::write_unit(&mut open, unit);
    }
    samples.push(open);
    samples
}

#[test]
fn h265_comes_out_of_rtp_and_mp4_as_it_was_encoded() {
    let _shared = crate::shared();
    let folder = tempfile::tempdir().unwrap();
    let (stream, movie) = (folder.path().join("a.hevc"), folder.path().join("a.mp4"));
    let source =
        ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2", "-pix_fmt", "yuv420p", "-c:v", "libx265"];
    // No reordering: this test sends pictures at times of their own, one after the other.
    let options = ["-x265-params", "log-level=error:keyint=25:bframes=0:slices=2:repeat-headers=1:pools=1"];
    ffmpeg(&[&source[..], &options].concat(), &stream);

    let samples = access_units(&std::fs::read(&stream).unwrap());
    assert_eq!(samples.len(), 50);
    let unknown = TrackConfig { kind: CodecKind::H265, clock_rate: 90_000, channels: 0, config: Vec::new() };
    let (config, received) = through_rtp(&unknown, 3600, &samples);
    assert!(received.iter().map(|sample| &sample.data).eq(&samples));
    let keys: Vec<usize> = (0..50).filter(|position| received[*position].key).collect();
    assert_eq!(keys, [0, 25]);

    write_movie(&movie, TrackKind::Video, &config, 0, &received);
    let entries = "stream=codec_name,codec_tag_string,width,height,nb_read_frames";
    assert_eq!(probe(&movie, &["-count_frames", "-show_entries", entries]), "hevc,hvc1,320,180,50");
    assert_eq!(decoded(&movie, "0:v"), decoded(&stream, "0:v"));
    // A window that begins at the eleventh picture shows forty.
    write_movie(&movie, TrackKind::Video, &config, 10 * 3600, &received);
    assert_eq!(probe(&movie, &["-count_frames", "-show_entries", "stream=nb_read_frames"]), "40");
}

#[test]
fn motion_jpeg_comes_out_of_rtp_and_mp4_as_it_was_encoded() {
    let _shared = crate::shared();
    let folder = tempfile::tempdir().unwrap();
    // With the tables of RFC 2435, and with what only the header extension of ONVIF can say.
    for (name, size, format, huffman) in [
        ("plain", "320x240", "yuvj420p", "default"),
        ("own tables", "320x240", "yuvj420p", "optimal"),
        ("wide", "2592x1944", "yuvj420p", "default"),
        ("odd", "322x242", "yuvj444p", "default"),
    ] {
        let (stream, movie) = (folder.path().join("a.mjpeg"), folder.path().join("a.mp4"));
        let source = format!("testsrc2=s={size}:r=5:d=1");
        let encode = ["-pix_fmt", format, "-c:v", "mjpeg", "-q:v", "6", "-huffman", huffman];
        ffmpeg(&[&["-f", "lavfi", "-i", &source][..], &encode].concat(), &stream);

        let bytes = std::fs::read(&stream).unwrap();
        let mut samples = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.windows(2).position(|pair| pair == [0xff, 0xd9]) {
            samples.push(rest[..end + 2].to_vec());
            rest = &rest[end + 2..];
        }
        assert_eq!(samples.len(), 5, "{name}");
        let unknown =
            TrackConfig { kind: CodecKind::Jpeg, clock_rate: 90_000, channels: 0, config: Vec::new() };
        let (config, received) = through_rtp(&unknown, 18_000, &samples);
        write_movie(&movie, TrackKind::Video, &config, 0, &received);
        let entries = "stream=codec_name,width,height,nb_read_frames";
        let expected = format!("mjpeg,{},5", size.replace('x', ","));
        assert_eq!(probe(&movie, &["-count_frames", "-show_entries", entries]), expected, "{name}");
        assert_eq!(decoded(&movie, "0:v"), decoded(&stream, "0:v"), "{name}");
    }
}

#[test]
fn aac_comes_out_of_rtp_and_mp4_as_it_was_encoded_and_is_cut_exactly() {
    let _shared = crate::shared();
    let folder = tempfile::tempdir().unwrap();
    let (stream, movie) = (folder.path().join("a.aac"), folder.path().join("a.mp4"));
    let source =
        ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=16000:duration=2", "-c:a", "aac", "-f", "adts"];
    ffmpeg(&source, &stream);

    let bytes = std::fs::read(&stream).unwrap();
    let (mut samples, mut rest) = (Vec::new(), bytes.as_slice());
    // ADTS (ISO/IEC 13818-7 §6.2): a header of seven bytes, the length of both in 13 bits.
    while let [_, _, _, b3, b4, b5, ..] = *rest {
        let length = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
        samples.push(rest[7..length].to_vec());
        rest = &rest[length..];
    }
    let config = aac::AacConfig::low_complexity(16_000, 1).unwrap();
    let track = TrackConfig { kind: CodecKind::Aac, clock_rate: 16_000, channels: 1, config };
    let (config, received) = through_rtp(&track, 1024, &samples);
    assert!(received.iter().map(|sample| &sample.data).eq(&samples));

    write_movie(&movie, TrackKind::Audio, &config, 0, &received);
    let entries = "stream=codec_name,codec_tag_string,sample_rate,channels";
    assert_eq!(probe(&movie, &["-show_entries", entries]), "aac,mp4a,16000,1");
    let whole = decoded(&stream, "0:a");
    assert_eq!(decoded(&movie, "0:a"), whole);

    // From the middle of an access unit on: not a sample more or less is heard.
    let from = TICKS_PER_SECOND / 2;
    write_movie(&movie, TrackKind::Audio, &config, from, &received);
    let samples_from = |path: &Path, filter: &str| {
        let out = folder.path().join("a.s16");
        let input = path.to_str().unwrap();
        ffmpeg(&["-i", input, "-af", filter, "-f", "s16le"], &out);
        std::fs::read(out).unwrap()
    };
    let (cut, expected) = (samples_from(&movie, "anull"), samples_from(&stream, "atrim=start_sample=8000"));
    assert_eq!(cut.len(), expected.len());
    assert_eq!(cut, expected);
}
