//! An exported file, read by a demuxer that is not ours.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use keepwatch_model::WallTime;
use serde_json::Value;

use crate::run;

/// How long ffprobe may take for a minute of footage on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Marks the SEI message in which virtual cameras number their frames.
const STAMP: [u8; 16] =
    [0x6b, 0x77, 0x1a, 0xf3, 0x0c, 0x5e, 0x4d, 0x92, 0xa8, 0x41, 0xd7, 0x2e, 0x93, 0x64, 0xbf, 0x08];

/// One picture of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The number that a virtual camera gave it.
    pub number: Option<u64>,
    /// When that camera says that it took it.
    pub capture: Option<WallTime>,
    /// When it is presented, in ticks of the track.
    pub pts: i64,
    /// Whether the edit list hides it: it is there only so that later ones can be decoded.
    pub hidden: bool,
    /// Where its bytes begin in the file.
    pub offset_bytes: u64,
    /// How many they are.
    pub size_bytes: u64,
}

/// What ffprobe finds in a file.
#[derive(Clone, Debug)]
pub struct Movie {
    /// All pictures in decoding order.
    pub pictures: Vec<Picture>,
    /// Pictures that a player shows, counted by decoding all of them.
    pub shown: u64,
    /// Codec names of all streams.
    pub codecs: Vec<String>,
    /// Length in seconds.
    pub seconds: f64,
}

impl Movie {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let streams = probe(path, &["-count_frames", "-show_streams", "-show_format"])?;
        let all = streams["streams"].as_array().context("no streams")?;
        let video = all.iter().find(|stream| stream["codec_type"] == "video").context("no video")?;
        let shown = number(video, "nb_read_frames")?;
        let codecs =
            all.iter().filter_map(|stream| stream["codec_name"].as_str().map(str::to_owned)).collect();
        let seconds = streams["format"]["duration"].as_str().context("no duration")?.parse()?;
        Ok(Self { pictures: Self::pictures(path)?, shown, codecs, seconds })
    }

    /// The pictures of a file without decoding them, which takes a hundredth of the time.
    pub fn pictures(path: &Path) -> Result<Vec<Picture>> {
        let packets = probe(path, &["-select_streams", "v", "-show_entries", "packet=pts,pos,size,flags"])?;
        let file = File::open(path)?;
        let packets = packets["packets"].as_array().context("no packets")?;
        packets.iter().map(|packet| picture(&file, packet)).collect()
    }

    /// How many packets of sound a player plays.
    pub fn sound_packets(path: &Path) -> Result<usize> {
        let packets = probe(path, &["-select_streams", "a", "-show_entries", "packet=pts,flags"])?;
        let packets = packets["packets"].as_array().context("no packets")?;
        Ok(packets.iter().filter(|packet| !is_hidden(packet)).count())
    }

    /// The numbers of the pictures that a player shows, in the order of the file.
    pub fn numbers(&self) -> Vec<u64> {
        self.pictures.iter().filter(|picture| !picture.hidden).filter_map(|picture| picture.number).collect()
    }
}

fn probe(path: &Path, arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-of", "json"]).args(arguments).arg(path);
    Ok(serde_json::from_str(&run(&mut command, PATIENCE)?.success()?)?)
}

/// A number, which ffprobe writes as a text.
fn number<T: std::str::FromStr>(object: &Value, key: &str) -> Result<T> {
    let text = object[key].as_str().map(str::to_owned).unwrap_or_else(|| object[key].to_string());
    text.parse().ok().with_context(|| format!("no {key} in {object}"))
}

/// Whether the edit list hides a packet.
fn is_hidden(packet: &Value) -> bool {
    packet["flags"].as_str().is_some_and(|flags| flags.contains('D'))
}

fn picture(file: &File, packet: &Value) -> Result<Picture> {
    let (offset_bytes, size_bytes) = (number(packet, "pos")?, number(packet, "size")?);
    let mut sample = vec![0; usize::try_from(size_bytes)?];
    file.read_exact_at(&mut sample, offset_bytes)?;
    let (number_of_camera, capture) = stamp(&sample).unzip();
    Ok(Picture {
        number: number_of_camera,
        capture,
        pts: number(packet, "pts")?,
        hidden: is_hidden(packet),
        offset_bytes,
        size_bytes,
    })
}

/// Number and time in a sample of H.264 or H.265, whose SEI messages differ in the header of their unit only.
fn stamp(sample: &[u8]) -> Option<(u64, WallTime)> {
    let at = sample.windows(STAMP.len()).position(|window| window == STAMP)?;
    let mut words = Vec::with_capacity(16);
    let mut zeros = 0;
    for byte in sample.get(at + STAMP.len()..)? {
        // Emulation prevention (ITU-T H.264 §7.4.1, H.265 §7.4.2): not of the message.
        if !(zeros >= 2 && *byte == 3) {
            words.push(*byte);
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        if let Some((number, rest)) = words.split_first_chunk::<8>()
            && let Some(capture) = rest.first_chunk::<8>()
        {
            return Some((u64::from_be_bytes(*number), WallTime::from_ticks(i64::from_be_bytes(*capture))));
        }
    }
    None
}
