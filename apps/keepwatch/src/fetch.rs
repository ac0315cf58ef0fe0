//! `keepwatch fetch`: recorded footage of a camera or another recorder, by RTSP replay, with its account.
//!
//! What is fetched is written to an MP4 file, or only counted. Ctrl-C ends it with what is there by then.

mod account;

use std::num::NonZeroU64;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use keepwatch_model::{Span, SpanSet, TICKS_PER_SECOND, WallTime};
use keepwatch_recorder::config::{Fingerprint, Secret};
use keepwatch_recorder::fetch::{
    self as replay, ClientConfig, CountingSink, DeviceOptions, FetchAccount, FetchControl, FetchEnd,
    FetchOrder, Found, MovieSink, Progress, RateControl, Wish,
};
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::config::show_bytes;
use crate::{Outcome, output};

/// A clock that is off by more is told of: the times asked for are those of the device.
const CLOCK_OFFSET_TICKS_TOLD: i64 = 2 * TICKS_PER_SECOND;

/// Options of `fetch`.
#[derive(Debug, Args)]
pub(crate) struct FetchOptions {
    /// Where the recording is replayed: rtsp://HOST/PATH
    #[arg(long, required_unless_present = "onvif", conflicts_with = "onvif")]
    url: Option<Url>,
    /// ONVIF device that holds the recording: http://HOST
    #[arg(long)]
    onvif: Option<Url>,
    /// Token of the recording [default: the only one that has something of the time]
    #[arg(long, requires = "onvif")]
    recording: Option<String>,
    /// User to log in as
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// File with that user's password on one line
    #[arg(long, requires = "user")]
    password_file: Option<PathBuf>,
    /// Certificate that must be shown over TLS, by its SHA-256 fingerprint
    #[arg(long)]
    certificate: Option<Fingerprint>,
    /// First moment by the clock of who recorded it, like 2026-11-21T22:05:00Z
    #[arg(long)]
    from: WallTime,
    /// First moment after
    #[arg(long)]
    to: WallTime,
    /// How fast: as it can be read, or in real time
    #[arg(long, value_enum, default_value_t)]
    speed: Speed,
    /// Most bytes a second, like 2MB; 64 KiB at least
    #[arg(long, value_parser = rate)]
    limit: Option<NonZeroU64>,
    /// Leave the sound out
    #[arg(long)]
    silent: bool,
    /// MP4 file to write; without it what comes is only counted
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// How fast footage is fetched.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Speed {
    /// As fast as it can be read
    #[default]
    Full,
    /// In real time
    #[value(name = "1")]
    Real,
}

fn rate(text: &str) -> Result<NonZeroU64, String> {
    let bytes = crate::config::read_bytes(text)
        .map_err(|complaint| format!("{}; {}", complaint.what, complaint.remedy))?;
    NonZeroU64::new(bytes).ok_or_else(|| "it must be more than nothing".to_owned())
}

/// Fetches what `options` say.
pub(crate) async fn fetch(options: FetchOptions) -> anyhow::Result<Outcome> {
    let Some(span) = Span::new(options.from, options.to) else {
        bail!("--to {} is not after --from {}", options.to, options.from);
    };
    let login = login(&options)?;
    let (url, sections) = source(&options, span, login.as_ref()).await?;
    let title = url.host_str().unwrap_or_default().to_owned();
    let mut client = ClientConfig::new(url);
    if let Some((user, password)) = login {
        client.user = Some(user);
        client.password = Some(Secret::new(password));
    }
    client.certificate = options.certificate;
    let pace = match options.speed {
        Speed::Full => RateControl::Free,
        Speed::Real => RateControl::Paced,
    };
    let order = FetchOrder {
        client,
        span,
        audio: !options.silent,
        metadata: false,
        pace,
        sections: sections.clone(),
    };
    let control = FetchControl::new();
    control.limit(options.limit);

    let (account, file) = match &options.output {
        Some(path) => {
            let mut sink = MovieSink::create(path, span, &title)?;
            let account = watched(replay::fetch(&order, &control, &mut sink), &control, span).await??;
            let left_out = sink.left_out();
            let none = account.samples() == left_out;
            (account, if none { None } else { Some((path.clone(), sink.finish()?, left_out)) })
        }
        None => {
            let mut sink = CountingSink::default();
            let account = watched(replay::fetch(&order, &control, &mut sink), &control, span).await?;
            (account?, None)
        }
    };
    let account = match &sections {
        Some(sections) => account.compared_with(sections),
        None => account,
    };
    if options.json {
        output::say(account::in_json(&account, file.as_ref()));
    } else {
        account::in_text(&account, file.as_ref()).iter().for_each(output::say);
    }
    conclude(&account)
}

/// What the account means for who waits for the exit code.
fn conclude(account: &FetchAccount) -> anyhow::Result<Outcome> {
    let why = account.trouble.as_deref().unwrap_or("it did not say why");
    if account.is_whole() {
        return Ok(Outcome::Done);
    }
    if matches!(account.end, FetchEnd::GivenUp(_)) && account.samples() == 0 {
        bail!("nothing could be fetched: {why}");
    }
    Ok(Outcome::FaultsFound)
}

/// Where the recording is replayed, and where the device says that it has footage.
async fn source(
    options: &FetchOptions,
    span: Span,
    login: Option<&(String, String)>,
) -> anyhow::Result<(Url, Option<SpanSet>)> {
    let (Some(address), _) = (&options.onvif, &options.url) else {
        return Ok((options.url.clone().context("neither --url nor --onvif was given")?, None));
    };
    let mut device = DeviceOptions::new(address.clone());
    if let Some((user, password)) = login {
        device = device.with_login(user, password);
    }
    device.certificate = options.certificate;
    let found = replay::find(Wish { device, recording: options.recording.clone(), span }).await?;
    let Found { url, sections, clock_offset_ticks, .. } = found;
    if let Some(offset) = clock_offset_ticks.filter(|offset| offset.abs() > CLOCK_OFFSET_TICKS_TOLD) {
        let seconds = offset.abs() / TICKS_PER_SECOND;
        let way = if offset > 0 { "ahead of" } else { "behind" };
        output::complain(format_args!(
            "the device's clock is {seconds} s {way} this one; times are those of the device"
        ));
    }
    Ok((url, sections))
}

fn login(options: &FetchOptions) -> anyhow::Result<Option<(String, String)>> {
    let (Some(user), Some(file)) = (&options.user, &options.password_file) else { return Ok(None) };
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(Some((user.clone(), text.lines().next().unwrap_or_default().to_owned())))
}

/// Waits for `work`, shows how far it is, and cancels it when that is asked for.
async fn watched<T>(work: impl Future<Output = T>, control: &FetchControl, span: Span) -> anyhow::Result<T> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut progress = control.progress();
    let mut line = output::Progress::new();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            _ = interrupt.recv() => control.cancel(),
            _ = terminate.recv() => control.cancel(),
            // The control that is borrowed holds the other end.
            _ = progress.changed() => {
                let state = *progress.borrow_and_update();
                show(&mut line, state, span);
            }
        }
    }
}

fn show(line: &mut output::Progress, state: Progress, span: Span) {
    let position = state.position.unwrap_or(span.from);
    let done = u64::try_from(position.ticks_since(span.from)).unwrap_or(0);
    let all = u64::try_from(span.ticks()).unwrap_or(u64::MAX);
    let (bytes, rate) = (show_bytes(state.bytes), show_bytes(state.bytes_per_s));
    line.show(done, all, format_args!("up to {position}, {bytes}, {rate}/s"));
}
