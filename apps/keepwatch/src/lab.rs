//! `keepwatch lab`: virtual cameras, load, disks and lines as processes of their own, and what tests ask of a store.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use keepwatch_lab::{
    CamerasOptions, CardOptions, DiskOptions, EncoderSettings, FrameStamp, LineOptions, LoadOptions, Login,
    NUMBERS_PER_CAMERA, SiteOptions, read_jpeg_counter, run_cameras, run_disk, run_line, run_load,
};
use keepwatch_model::{CameraId, CodecKind, Span, StreamId, WallTime};
use keepwatch_store::Store;
use serde::Serialize;
use serde_json::Value;

use crate::cli::{
    LabCamerasOptions, LabCommand, LabControlOptions, LabDiskOptions, LabLineOptions, LabLoadOptions,
    LabLogin, LabOptions, NodeOptions,
};
use crate::{Outcome, on_all_cores, on_one_core, output, verify};

/// Runs a command of the lab.
pub(crate) fn lab(options: LabOptions) -> anyhow::Result<Outcome> {
    match options.command {
        LabCommand::Cameras(options) => {
            let options = cameras_options(*options)?;
            on_all_cores(async { Ok(run_cameras(options).await.map(|()| Outcome::Done)?) })
        }
        LabCommand::Load(options) => {
            let options = load_options(options)?;
            // One thread, as the load process must be cheap beside what it loads.
            on_one_core(async { Ok(run_load(options).await.map(|()| Outcome::Done)?) })
        }
        LabCommand::Disk(options) => {
            let options = disk_options(options);
            on_one_core(async { Ok(run_disk(options).await.map(|()| Outcome::Done)?) })
        }
        LabCommand::Line(options) => {
            let options = line_options(options);
            on_one_core(async { Ok(run_line(options).await.map(|()| Outcome::Done)?) })
        }
        LabCommand::Control(options) => control(&options),
        LabCommand::CountFrames(options) => count_frames(&options),
    }
}

fn cameras_options(options: LabCamerasOptions) -> anyhow::Result<CamerasOptions> {
    let encoder = EncoderSettings {
        frames_per_second: options.fps,
        bits_per_second: options.bitrate,
        ..EncoderSettings::default()
    };
    let site = SiteOptions {
        listen: options.listen,
        cameras: options.count,
        encoders: options.encoders,
        encoder,
        gop_frames: options.gop,
        audio: if options.silent { None } else { options.audio.codec() },
        metadata: options.metadata,
        tls: options.tls,
        onvif: options.onvif,
        discovery: options.discovery,
        codecs: options.codec.into_iter().map(Into::into).collect(),
        login: login(options.login)?,
        card: options.card.map(|directory| CardOptions {
            directory,
            size_bytes: options.card_size,
            prefill: options.card_prefill,
            gaps: options.card_gap,
        }),
    };
    Ok(CamerasOptions {
        site,
        control: options.control,
        until_input_closes: options.until_input_closes,
        lasts: options.seconds.map(Duration::from_secs),
    })
}

fn load_options(options: LabLoadOptions) -> anyhow::Result<LoadOptions> {
    Ok(LoadOptions {
        listen: options.listen,
        cameras: options.cameras,
        bits_per_second: options.bitrate,
        frames_per_second: options.fps,
        gop_frames: options.gop,
        lasts: options.seconds.map(Duration::from_secs),
        until_input_closes: options.until_input_closes,
        login: login(options.login)?,
        ..LoadOptions::default()
    })
}

fn disk_options(options: LabDiskOptions) -> DiskOptions {
    DiskOptions {
        mount: options.mount,
        backing: options.backing,
        control: options.control,
        until_input_closes: options.until_input_closes,
        lasts: options.seconds.map(Duration::from_secs),
    }
}

fn line_options(options: LabLineOptions) -> LineOptions {
    LineOptions {
        listen: options.listen,
        to: options.to,
        control: options.control,
        until_input_closes: options.until_input_closes,
        lasts: options.seconds.map(Duration::from_secs),
    }
}

fn login(options: LabLogin) -> anyhow::Result<Option<Login>> {
    let (Some(user), Some(file)) = (options.user, options.password_file) else { return Ok(None) };
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    Ok(Some(Login { user, password }))
}

/// Sends one command to the control socket of virtual cameras, a disk or a line and prints the answer.
fn control(options: &LabControlOptions) -> anyhow::Result<Outcome> {
    let command: Value = serde_json::from_str(&options.command).context("the command is not JSON")?;
    let mut stream = UnixStream::connect(&options.socket)
        .with_context(|| format!("nothing of a lab listens on {}", options.socket.display()))?;
    writeln!(stream, "{command}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    let answer: Value = serde_json::from_str(&answer).context("the lab gave no answer")?;
    output::say(&answer);
    if answer.get("ok") != Some(&Value::Bool(true)) {
        bail!("the lab refused");
    }
    Ok(Outcome::Done)
}

/// The frame numbers of one camera in a store.
#[derive(Debug, Default, Serialize)]
struct Count {
    /// Frames with a number.
    frames: u64,
    /// Bytes of all samples.
    media_bytes: u64,
    /// Frames without a number: they are not of a virtual camera.
    unstamped: u64,
    /// Frames with the number of another camera.
    foreign: u64,
    /// Frames whose number was there before.
    duplicates: u64,
    /// Inclusive ranges of the numbers that are there, in the order of the recording.
    ranges: Vec<(u64, u64)>,
}

impl Count {
    fn add(&mut self, camera: CameraId, kind: CodecKind, sample: &[u8]) {
        let number = if kind == CodecKind::Jpeg {
            // The picture has no place for the camera's name: it is what the camera of this id shows.
            number_of_jpeg(camera, sample)
        } else {
            FrameStamp::find(sample).map(|stamp| (stamp.camera, stamp.number))
        };
        let Some((stamped, number)) = number else {
            self.unstamped += 1;
            return;
        };
        if stamped != camera {
            self.foreign += 1;
            return;
        }
        self.frames += 1;
        // Numbers come in order but for what was recorded twice, so the last range is nearly always the one.
        if self.ranges.iter().rev().any(|(first, last)| (*first..=*last).contains(&number)) {
            self.duplicates += 1;
            return;
        }
        match self.ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            Some(_) | None => self.ranges.push((number, number)),
        }
    }
}

/// The number of a frame of motion JPEG: what the picture shows, among the numbers of the camera with this id.
fn number_of_jpeg(camera: CameraId, file: &[u8]) -> Option<(CameraId, u64)> {
    let counter = read_jpeg_counter(file)?;
    let place: u64 = camera.as_str().strip_prefix("cam")?.parse().ok()?;
    Some((camera, NUMBERS_PER_CAMERA.checked_mul(place)?.checked_add(u64::from(counter))?))
}

/// Prints, a JSON line for each camera, which frame numbers a store holds.
fn count_frames(options: &NodeOptions) -> anyhow::Result<Outcome> {
    let (data, disks) = verify::store_of(options)?;
    let store = Store::open_read_only(&data, &disks)?;
    let everything = Span { from: WallTime::MIN, to: WallTime::MAX };
    for (camera, stream) in store.streams()? {
        if stream != StreamId::MAIN {
            continue;
        }
        let mut count = Count::default();
        for reference in store.records(camera, stream, everything)? {
            let record = store.read(&reference)?;
            count.media_bytes += u64::from(reference.info.media_bytes);
            for (track, description) in record.index().tracks.iter().enumerate() {
                if description.config.kind.is_video() {
                    for sample in 0..description.samples.len() {
                        count.add(camera, description.config.kind, record.sample(track, sample));
                    }
                }
            }
        }
        output::say(serde_json::json!({"camera": camera, "frames": count}));
    }
    Ok(Outcome::Done)
}

/// Whether `path` is a socket that a process listens on.
pub(crate) fn listens(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}
