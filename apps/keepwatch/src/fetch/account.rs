//! The account of a fetch, for people and for programs.

use std::path::PathBuf;

use keepwatch_model::CodecKind;
use keepwatch_recorder::fetch::{FetchAccount, FetchEnd, GiveUp};
use serde_json::{Value, json};

use crate::config::show_bytes;

/// Spans that are listed for people; JSON has them all.
const MISSING_SHOWN_MAX: usize = 50;

/// The file, its bytes, and the samples that are not in it.
type Written = (PathBuf, u64, u64);

/// What people read.
pub(super) fn in_text(account: &FetchAccount, file: Option<&Written>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((path, bytes, left_out)) = file {
        lines.push(format!("{}: {}", path.display(), show_bytes(*bytes)));
        if *left_out > 0 {
            lines.push(format!(
                "{left_out} samples could not be put into the file: pictures before the first key frame, or sound that changes \
                 its coding"
            ));
        }
    }
    let tracks: Vec<_> =
        account.tracks.iter().map(|track| format!("{} {}", track.samples, samples_of(track.kind))).collect();
    let tracks = if tracks.is_empty() { "nothing".to_owned() } else { tracks.join(", ") };
    let bytes_per_s = bytes_per_s(account);
    lines.push(format!(
        "{tracks}, {} in {:.1} s ({}/s)",
        show_bytes(account.bytes()),
        account.elapsed.as_secs_f64(),
        show_bytes(bytes_per_s)
    ));
    let report = &account.report;
    lines.push(format!(
        "trimmed: {} before the span, {} that came again, {} behind it",
        report.lead, report.repeated, report.beyond
    ));
    if account.broken_off > 0 {
        lines
            .push(format!("broken off {} times, asked {} times in all", account.broken_off, report.attempts));
    }
    if report.lost_packets > 0 {
        lines.push(format!("{} packets lost on the way", report.lost_packets));
    }
    if report.unmarked > 0 {
        lines.push(format!(
            "{} frames came without a mark of their time and were placed by their RTP time",
            report.unmarked
        ));
    }
    for missing in account.missing.iter().take(MISSING_SHOWN_MAX) {
        let (span, why) = (missing.span, missing.reason.sentence());
        lines.push(format!("missing: {} to {}: {why}", span.from, span.to));
    }
    if account.missing.len() > MISSING_SHOWN_MAX {
        let more = account.missing.len() - MISSING_SHOWN_MAX;
        lines.push(format!("and {more} more; --json lists all"));
    }
    lines.push(match &account.trouble {
        Some(trouble) => format!("{}: {}", end_sentence(account), one_line(trouble)),
        None => end_sentence(account).to_owned(),
    });
    lines
}

/// What programs read.
pub(super) fn in_json(account: &FetchAccount, file: Option<&Written>) -> Value {
    let report = &account.report;
    let tracks: Vec<_> = account
        .tracks
        .iter()
        .map(|track| json!({"samples_of": samples_of(track.kind), "samples": track.samples, "bytes": track.bytes}))
        .collect();
    let missing: Vec<_> = account
        .missing
        .iter()
        .map(|missing| {
            let (span, reason) = (missing.span, missing.reason.as_str());
            json!({"from": span.from, "to": span.to, "reason": reason})
        })
        .collect();
    json!({
        "from": account.span.from,
        "to": account.span.to,
        "end": end_name(account.end),
        "whole": account.is_whole(),
        "detail": account.trouble,
        "tracks": tracks,
        "bytes": account.bytes(),
        "elapsed_ms": u64::try_from(account.elapsed.as_millis()).unwrap_or(u64::MAX),
        "bytes_per_s": bytes_per_s(account),
        "lead": report.lead,
        "repeated": report.repeated,
        "beyond": report.beyond,
        "unmarked": report.unmarked,
        "steps_back": report.steps_back,
        "lost_packets": report.lost_packets,
        "bad_packets": account.bad_packets,
        "attempts": report.attempts,
        "broken_off": account.broken_off,
        "missing": missing,
        "file": file.map(|(path, bytes, left_out)| json!({"path": path, "bytes": bytes, "left_out": left_out})),
    })
}

fn bytes_per_s(account: &FetchAccount) -> u64 {
    let millis = account.elapsed.as_millis().max(1);
    u64::try_from(u128::from(account.bytes()) * 1000 / millis).unwrap_or(u64::MAX)
}

const fn samples_of(kind: CodecKind) -> &'static str {
    match kind {
        CodecKind::H264 => "pictures of H.264",
        CodecKind::H265 => "pictures of H.265",
        CodecKind::Jpeg => "pictures of JPEG",
        CodecKind::Pcmu | CodecKind::Pcma => "packets of G.711",
        CodecKind::Aac => "units of AAC",
        CodecKind::Metadata => "documents",
    }
}

const fn end_name(end: FetchEnd) -> &'static str {
    match end {
        FetchEnd::Complete => "complete",
        FetchEnd::Silent => "silent",
        FetchEnd::NoFootage => "no_footage",
        FetchEnd::Cancelled => "cancelled",
        FetchEnd::GivenUp(GiveUp::Connection) => "connection",
        FetchEnd::GivenUp(GiveUp::Refused) => "refused",
        FetchEnd::GivenUp(GiveUp::OtherFootage) => "other_footage",
        FetchEnd::GivenUp(GiveUp::TimesGoBack) => "times_go_back",
    }
}

const fn end_sentence(account: &FetchAccount) -> &'static str {
    match account.end {
        FetchEnd::Complete if account.missing.is_empty() => "all of the span is there",
        FetchEnd::Complete => "all that the server has of the span is there",
        FetchEnd::Silent => {
            "the server fell silent before the end of the span, and again when it was asked again"
        }
        FetchEnd::NoFootage => "the server has nothing of what is missing",
        FetchEnd::Cancelled => "cancelled",
        FetchEnd::GivenUp(GiveUp::Connection) => {
            "given up: the server cannot be reached or broke off again and again; asking again later may help"
        }
        FetchEnd::GivenUp(GiveUp::Refused) => "given up: the server refuses",
        FetchEnd::GivenUp(GiveUp::OtherFootage) => {
            "given up: the server plays other footage than it is asked for; compare its clock and time zone"
        }
        FetchEnd::GivenUp(GiveUp::TimesGoBack) => {
            "given up: the times of what the server plays go back again and again"
        }
    }
}

/// A server's words, for a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
