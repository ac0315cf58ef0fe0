//! Values of the configuration that are texts, whoever wrote them: a file, or the console. Each is read here, once.

use std::time::Duration;

use keepwatch_model::CameraId;

use super::{Fingerprint, FingerprintError, MediaTransport, units};

/// Longest text that is quoted in a message.
const QUOTE_CHARS_MAX: usize = 60;

/// Longest name of a user of a camera: far beyond what cameras take.
const USER_CHARS_MAX: usize = 128;

/// Longest password in bytes; cameras take far shorter ones.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Shortest retention; less is a slip of the unit.
const RETENTION_MIN: Duration = Duration::from_secs(60);

/// Why a text is not the value that belongs there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What is wrong with it.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

impl Complaint {
    /// A complaint.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// `text` in quotation marks, shortened.
pub fn quoted(text: &str) -> String {
    if text.chars().count() <= QUOTE_CHARS_MAX {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    format!("{:?}", format!("{start}…"))
}

/// A name for people: not empty, at most 100 characters, nothing that moves a cursor.
pub fn name(text: &str) -> Result<String, Complaint> {
    let unfit = text.trim().is_empty() || text.chars().count() > 100 || text.chars().any(char::is_control);
    if unfit {
        let what = format!("{} cannot be a name", quoted(text));
        return Err(Complaint::new(what, "write 1 to 100 characters on one line"));
    }
    Ok(text.to_owned())
}

/// The id of a camera.
pub fn camera_id(text: &str) -> Result<CameraId, Complaint> {
    text.parse::<CameraId>().map_err(|_| {
        let what = format!("{} cannot be a camera id", quoted(text));
        Complaint::new(what, "use 1 to 31 of a-z 0-9 . _ - and begin with a letter or digit")
    })
}

/// An edge node by its name, and the id of a camera there if it is another one than here: `box` or `box/gate`.
pub(super) fn edge_camera(text: &str) -> Result<(String, Option<CameraId>), Complaint> {
    match text.rsplit_once('/') {
        None => Ok((name(text)?, None)),
        Some((node, camera)) => Ok((name(node)?, Some(camera_id(camera)?))),
    }
}

/// The name to log in to a camera with.
pub(super) fn user(text: &str) -> Result<String, Complaint> {
    let unfit =
        text.is_empty() || text.chars().count() > USER_CHARS_MAX || text.chars().any(char::is_control);
    if unfit {
        let what = format!("{} cannot be the name of a user", quoted(text));
        return Err(Complaint::new(what, format!("write 1 to {USER_CHARS_MAX} characters on one line")));
    }
    Ok(text.to_owned())
}

/// The password to log in to a camera with. It is never quoted.
pub(crate) fn password(text: &str) -> Result<String, Complaint> {
    let unfit = text.is_empty() || text.len() > PASSWORD_BYTES_MAX || text.chars().any(char::is_control);
    if unfit {
        let remedy = format!("write 1 to {PASSWORD_BYTES_MAX} bytes on one line");
        return Err(Complaint::new("this cannot be a password", remedy));
    }
    Ok(text.to_owned())
}

/// How media travels.
pub(super) fn transport(text: &str) -> Result<MediaTransport, Complaint> {
    match text {
        "auto" => Ok(MediaTransport::Auto),
        "tcp" => Ok(MediaTransport::Tcp),
        "udp" => Ok(MediaTransport::Udp),
        _ => Err(Complaint::new(
            format!("{} is not a transport", quoted(text)),
            "write \"auto\", \"tcp\" or \"udp\"",
        )),
    }
}

/// The certificate that a camera must show.
pub(super) fn certificate(text: &str) -> Result<Fingerprint, Complaint> {
    text.parse().map_err(|error: FingerprintError| {
        let what = format!("{} is no fingerprint: {error}", quoted(text));
        Complaint::new(
            what,
            "keepwatch status --json shows the one that the camera has, like \"sha256:0a1b...\"",
        )
    })
}

/// The age at which footage is deleted.
pub fn retention(text: &str) -> Result<Duration, Complaint> {
    let remedy = "write at least \"1 min\", or leave retention out to keep footage until space runs out";
    at_least(units::duration(text)?, RETENTION_MIN, text, remedy)
}

/// `value`, which was read from `text`, unless it is less than `least`.
pub fn at_least<T: PartialOrd>(value: T, least: T, text: &str, remedy: &str) -> Result<T, Complaint> {
    if value < least {
        Err(Complaint::new(format!("{} is too little", quoted(text)), remedy))
    } else {
        Ok(value)
    }
}

/// The known word that `word` was probably meant to be.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // Two slips in a long word, one in a short one; or a word left unfinished.
    let slips_max = if word.chars().count() > 4 { 2 } else { 1 };
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(slips, candidate)| *slips <= slips_max || (word.len() >= 3 && candidate.starts_with(word)))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words (optimal string alignment); words are
/// cut at 40 characters.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.to_lowercase().chars().take(40).collect();
    let to: Vec<char> = to.chars().take(40).collect();
    // rows[i][j] is the distance of the first i characters of `from` to the first j of `to`.
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (i, left) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in to.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(left != right)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *left == to[j - 1] && from[i - 1] == *right {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}
