//! What a device has recorded, and where it is replayed (ONVIF Recording Search and Replay).

use std::time::Duration;

use keepwatch_model::{Span, WallTime};
use tokio::time::{Instant, sleep_until, timeout};
use url::Url;

use super::media::{StreamTransport, stream_setup, token};
use super::{ClientError, Device};
use crate::lexical;
use crate::namespace;
use crate::xml::{Element, Writer};

/// How long the device keeps a search between two questions (Recording Search §5.5): more than the 10 s that it must.
pub(super) const SEARCH_LIFETIME: Duration = Duration::from_secs(30);

/// How long one question waits on the device for results.
const RESULTS_TIME: Duration = Duration::from_secs(5);

/// Results of one question.
const PAGE_RESULTS: usize = 100;

/// How long one search may go on: a device that searches a terabyte answers for minutes without a result.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(300);

/// The least time from a question that brought nothing to the next: some devices answer at once whatever they are asked.
const EMPTY_PAUSE: Duration = Duration::from_secs(1);

/// How long a device may take to forget a search.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// Recordings of one device that are read; a card has one or two, a recorder one for each channel.
const RECORDINGS_MAX: usize = 4096;

/// Tracks of a recording that are read.
const TRACKS_MAX: usize = 64;

/// Something recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Its token.
    pub token: String,
    /// What it is a recording of, for people; empty when it does not say.
    pub name: String,
    /// First data by the device's clock; `None` when it is empty or not told.
    pub earliest: Option<WallTime>,
    /// Last data by the device's clock; `None` when it is empty or not told.
    pub latest: Option<WallTime>,
    /// Its tracks.
    pub tracks: Vec<Track>,
}

/// One track of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its token, unique in the recording.
    pub token: String,
    /// What it holds.
    pub kind: TrackType,
    /// From its first to its last data, holes included; `None` when it is empty or not told.
    pub span: Option<Span>,
}

/// What a track holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackType {
    /// Video.
    Video,
    /// Sound.
    Audio,
    /// Metadata.
    Metadata,
    /// Something else.
    Other,
}

impl Device {
    /// All recordings, in no order.
    ///
    /// Some devices find only what was recorded by a client of ONVIF (Axis), and some cannot search: then the recording
    /// service is asked for its list, and the search service for the times of each.
    pub async fn recordings(&self) -> Result<Vec<Recording>, ClientError> {
        let found = self.find_recordings().await;
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Err(error) if error.is_login() => Err(error),
            found => match self.list_recordings().await {
                Ok(listed) => Ok(listed),
                Err(error) if error.is_login() => Err(error),
                Err(_) => found,
            },
        }
    }

    /// Where a recording is replayed: an `rtsp:` or `rtsps:` address on the configured host, without login.
    pub async fn replay_uri(&self, recording: &str) -> Result<Url, ClientError> {
        let name = "GetReplayUri";
        let body = |writer: &mut Writer| {
            writer.within("trp:GetReplayUri", |writer| {
                writer.within("trp:StreamSetup", |writer| stream_setup(writer, StreamTransport::Tcp));
                writer.leaf("trp:RecordingToken", recording);
            });
        };
        let answer = self.call(namespace::REPLAY, name, body).await?;
        let given = answer.text_at(&["Uri"]).and_then(|given| self.stream_at(given));
        given.ok_or(ClientError::Missing { call: name, what: "RTSP address" })
    }

    async fn find_recordings(&self) -> Result<Vec<Recording>, ClientError> {
        let lifetime = lexical::duration(SEARCH_LIFETIME);
        let name = "FindRecordings";
        let answer = self.call(namespace::SEARCH, name, |writer| {
            writer.within("tse:FindRecordings", |writer| {
                writer.empty("tse:Scope", &[]);
                writer.leaf("tse:KeepAliveTime", &lifetime);
            });
        });
        let search = token(answer.await?.text_at(&["SearchToken"]));
        let search = search.ok_or(ClientError::Missing { call: name, what: "search token" })?;
        let mut found = Vec::new();
        let results = self.results(&search, "GetRecordingSearchResults", RECORDINGS_MAX, |list| {
            let before = found.len();
            found.extend(list.children("RecordingInformation").filter_map(recording));
            found.len() - before
        });
        results.await?;
        Ok(found)
    }

    /// Asks for the results of a search until it is completed; any other way in which this ends, errors and being dropped
    /// among them, ends the search on the device. `take` reads a list and says how many it found.
    pub(super) async fn results(
        &self,
        search: &str,
        name: &'static str,
        results_max: usize,
        take: impl FnMut(&Element) -> usize,
    ) -> Result<(), ClientError> {
        let mut search = Search { device: self.clone(), token: Some(search.to_owned()) };
        let read = self.pages(search.token(), name, results_max, take).await;
        match &read {
            // Completed ends the search on the device; ending it once more would be refused.
            Ok(()) => search.token = None,
            // The device may be what failed: then waiting for its answer costs more than the search does.
            Err(_) => {
                let _ = timeout(FAREWELL_TIME, search.end()).await;
            }
        }
        read
    }

    async fn pages(
        &self,
        search: &str,
        name: &'static str,
        results_max: usize,
        mut take: impl FnMut(&Element) -> usize,
    ) -> Result<(), ClientError> {
        let element = format!("tse:{name}");
        let (page, time) = (PAGE_RESULTS.to_string(), lexical::duration(RESULTS_TIME));
        let mut taken: usize = 0;
        let end = Instant::now() + SEARCH_TIME_MAX;
        while taken <= results_max && Instant::now() < end {
            let asked = Instant::now();
            let answer = self.call(namespace::SEARCH, name, |writer| {
                writer.within(&element, |writer| {
                    writer.leaf("tse:SearchToken", search);
                    writer.leaf("tse:MaxResults", &page);
                    writer.leaf("tse:WaitTime", &time);
                });
            });
            let answer = answer.await?;
            let list = answer.child("ResultList").ok_or(ClientError::Missing { call: name, what: "list" })?;
            let found = take(list);
            taken = taken.saturating_add(found);
            // Other states are Queued, Searching, and what firmware invents.
            if list.text_at(&["SearchState"]) == Some("Completed") {
                return Ok(());
            }
            if found == 0 {
                sleep_until(asked + EMPTY_PAUSE).await;
            }
        }
        Err(ClientError::Endless { call: name, max: results_max, after: SEARCH_TIME_MAX })
    }

    /// Tells the device that it may forget a search; one that is forgotten already is no error.
    async fn end_search(&self, search: &str) {
        let body = |writer: &mut Writer| {
            writer.within("tse:EndSearch", |writer| writer.leaf("tse:SearchToken", search));
        };
        if let Err(error) = self.call(namespace::SEARCH, "EndSearch", body).await {
            tracing::debug!(%error, "a search was not ended");
        }
    }

    async fn list_recordings(&self) -> Result<Vec<Recording>, ClientError> {
        let body = |writer: &mut Writer| writer.empty("trc:GetRecordings", &[]);
        let answer = self.call(namespace::RECORDING, "GetRecordings", body).await?;
        let mut listed = Vec::new();
        for item in answer.children("RecordingItem").take(RECORDINGS_MAX) {
            let Some(bare) = recording_item(item) else { continue };
            // The times of a recording are the search service's to tell.
            let told = self.recording_information(&bare.token).await;
            listed.push(told.unwrap_or(bare));
        }
        Ok(listed)
    }

    async fn recording_information(&self, recording_token: &str) -> Option<Recording> {
        let body = |writer: &mut Writer| {
            writer.within("tse:GetRecordingInformation", |writer| {
                writer.leaf("tse:RecordingToken", recording_token);
            });
        };
        let answer = self.call(namespace::SEARCH, "GetRecordingInformation", body).await.ok()?;
        recording(answer.child("RecordingInformation")?)
    }
}

/// A search that goes on at a device, which keeps few. Dropped before it is completed, it is ended beside whatever follows.
struct Search {
    device: Device,
    /// `None` when there is nothing left to end.
    token: Option<String>,
}

impl Search {
    fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    async fn end(&mut self) {
        if let Some(token) = self.token.take() {
            self.device.end_search(&token).await;
        }
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        // Where nothing runs any more, the search is left to the device, which forgets it soon.
        if let Some(token) = self.token.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let device = self.device.clone();
            runtime.spawn(async move { timeout(FAREWELL_TIME, device.end_search(&token)).await });
        }
    }
}

/// Reads a `tt:RecordingInformation`.
fn recording(element: &Element) -> Option<Recording> {
    let time = |element: &Element, name: &str| element.text_at(&[name]).and_then(lexical::parse_date_time);
    let track = |track: &Element| {
        Some(Track {
            token: token(track.text_at(&["TrackToken"]))?,
            kind: track_type(track.text_at(&["TrackType"])),
            span: time(track, "DataFrom")
                .zip(time(track, "DataTo"))
                .and_then(|(from, to)| Span::new(from, to)),
        })
    };
    Some(Recording {
        token: token(element.text_at(&["RecordingToken"]))?,
        name: name(element.text_at(&["Source", "Name"])),
        earliest: time(element, "EarliestRecording"),
        latest: time(element, "LatestRecording"),
        tracks: element.children("Track").filter_map(track).take(TRACKS_MAX).collect(),
    })
}

/// Reads a `tt:GetRecordingsResponseItem`, which tells no times.
fn recording_item(element: &Element) -> Option<Recording> {
    let track = |track: &Element| {
        let kind = track_type(track.text_at(&["Configuration", "TrackType"]));
        Some(Track { token: token(track.text_at(&["TrackToken"]))?, kind, span: None })
    };
    let tracks = element.child("Tracks").into_iter().flat_map(|tracks| tracks.children("Track"));
    Some(Recording {
        token: token(element.text_at(&["RecordingToken"]))?,
        name: name(element.text_at(&["Configuration", "Source", "Name"])),
        earliest: None,
        latest: None,
        tracks: tracks.filter_map(track).take(TRACKS_MAX).collect(),
    })
}

fn name(text: Option<&str>) -> String {
    text.unwrap_or_default().chars().take(64).collect()
}

fn track_type(text: Option<&str>) -> TrackType {
    match text {
        Some("Video") => TrackType::Video,
        Some("Audio") => TrackType::Audio,
        Some("Metadata") => TrackType::Metadata,
        _ => TrackType::Other,
    }
}
