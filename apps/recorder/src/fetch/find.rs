//! Finds a recording by the ONVIF address of the device that holds it: which one, where it is replayed, and where the
//! device says that it has footage.

use keepwatch_model::{Span, SpanSet};
use keepwatch_onvif::client::{ClientError, Device, Options, Recording, TrackType};
use url::Url;

/// Recordings that an error names.
const NAMED_MAX: usize = 16;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The device, with the login.
    pub device: Options,
    /// The token of the recording; `None` takes the only one that has something of the span.
    pub recording: Option<String>,
    /// Which footage, by the device's clock.
    pub span: Span,
}

/// A recording that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its token.
    pub recording: String,
    /// Where it is replayed, without login.
    pub url: Url,
    /// Where the device says that it has pictures, inside the span; `None` when it does not say.
    pub sections: Option<SpanSet>,
    /// How far its clock is ahead of this machine's, in 90 kHz ticks; `None` when it does not tell.
    pub clock_offset_ticks: Option<i64>,
}

/// Why no recording was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The device cannot be asked.
    #[error(transparent)]
    Device(#[from] ClientError),
    /// None has anything of the span.
    #[error("the device has no footage from {} to {} by its clock; it has {}", span.from, span.to, list(has))]
    None {
        /// What was looked for.
        span: Span,
        /// What it has.
        has: Vec<String>,
    },
    /// There is no such recording.
    #[error("the device has no recording {token:?}; it has {}", list(has))]
    Unknown {
        /// The token.
        token: String,
        /// What it has.
        has: Vec<String>,
    },
    /// More than one has something of the span.
    #[error("the device has several recordings of that time; choose one with --recording: {}", list(.0))]
    Several(Vec<String>),
}

/// Asks the device for what `wish` says.
///
/// # Errors
/// When it cannot be asked, or has no such recording, or more than one.
pub async fn find(wish: Wish) -> Result<Found, FindError> {
    let Wish { device, recording, span } = wish;
    let device = Device::connect(device).await?;
    let held = device.recordings().await?;
    let recording = choose(&held, recording.as_deref(), span)?;
    let url = device.replay_uri(&recording.token).await?;
    let videos = recording.tracks.iter().filter(|track| track.kind == TrackType::Video);
    let videos: Vec<&str> = videos.map(|track| track.token.as_str()).collect();
    let sections = match device.sections(&recording.token, span).await {
        // A device that tells of no track does not say, rather than that it has nothing.
        Ok(told) if !told.is_empty() => {
            let of_video = told.iter().filter(|track| videos.contains(&track.track.as_str()));
            Some(of_video.flat_map(|track| track.sections.spans()).copied().collect())
        }
        Ok(_) => None,
        Err(error) if error.is_login() => return Err(error.into()),
        Err(error) => {
            tracing::debug!(%error, "the device does not say where it has footage");
            None
        }
    };
    let clock_offset_ticks = device.clock_offset_ticks();
    Ok(Found { recording: recording.token.clone(), url, sections, clock_offset_ticks })
}

/// The recording that is meant.
fn choose<'a>(held: &'a [Recording], token: Option<&str>, span: Span) -> Result<&'a Recording, FindError> {
    if let Some(token) = token {
        let found = held.iter().find(|recording| recording.token == token);
        return found.ok_or_else(|| FindError::Unknown { token: token.to_owned(), has: names(held) });
    }
    // A device that does not tell the times of a recording may have anything in it.
    let may_have = |recording: &&Recording| {
        recording.earliest.is_none_or(|earliest| earliest < span.to)
            && recording.latest.is_none_or(|latest| latest > span.from)
    };
    let fits: Vec<&Recording> = held.iter().filter(may_have).collect();
    match fits.as_slice() {
        [recording] => Ok(recording),
        [] => Err(FindError::None { span, has: names(held) }),
        several => Err(FindError::Several(names(several.iter().copied()))),
    }
}

/// What an operator chooses from.
fn names<'a>(recordings: impl IntoIterator<Item = &'a Recording>) -> Vec<String> {
    let name = |recording: &Recording| {
        let times = match (recording.earliest, recording.latest) {
            (Some(earliest), Some(latest)) => format!(", {earliest} to {latest}"),
            _ => String::new(),
        };
        let name = if recording.name.is_empty() { "" } else { " " };
        let text = format!("{}{name}{}{times}", recording.token, recording.name);
        text.chars().filter(|character| !character.is_control()).collect()
    };
    recordings.into_iter().take(NAMED_MAX).map(name).collect()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join("; ") }
}

#[cfg(test)]
mod tests {
    use keepwatch_model::{TICKS_PER_SECOND, WallTime};

    use super::*;

    fn recording(token: &str, seconds: Option<(i64, i64)>) -> Recording {
        let at = |seconds: i64| WallTime::from_ticks(seconds * TICKS_PER_SECOND);
        Recording {
            token: token.to_owned(),
            name: String::new(),
            earliest: seconds.map(|(earliest, _)| at(earliest)),
            latest: seconds.map(|(_, latest)| at(latest)),
            tracks: vec![],
        }
    }

    #[test]
    fn the_only_recording_of_the_time_is_taken_and_a_choice_is_left_to_the_operator() {
        let span = Span::new(WallTime::from_ticks(0), WallTime::from_ticks(100 * TICKS_PER_SECOND)).unwrap();
        let held = [recording("a", Some((200, 300))), recording("b", Some((50, 300)))];
        assert_eq!(choose(&held, None, span).unwrap().token, "b");
        assert_eq!(choose(&held, Some("a"), span).unwrap().token, "a");
        let unknown = choose(&held, Some("c"), span).unwrap_err().to_string();
        assert!(unknown.starts_with("the device has no recording \"c\"; it has a, "), "{unknown}");
        assert!(matches!(choose(&held[..1], None, span), Err(FindError::None { .. })));
        let held = [recording("b", Some((50, 300))), recording("c", None)];
        assert!(matches!(choose(&held, None, span), Err(FindError::Several(names)) if names.len() == 2));
    }
}
