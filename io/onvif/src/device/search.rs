//! The search service (search.wsdl, Profile G): what was recorded, when, and where the holes are.
//!
//! Events are found window by window, so that a search over a year holds the sections of some days. Filters on the
//! content of recordings are refused rather than ignored.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};

use crate::lexical;
use crate::xml::{Element, Writer};

use super::backend::{AudioCodec, Backend, Recording, Track, TrackKind, TrackSections};
use super::call::{Call, Reply, reply, wait};
use super::fault::Fault;
use super::history::{self, HistoryEvent, Wanted};
use super::media;
use super::recording::{self, description, type_of};
use super::service::{self, Service};
use super::session::{Ended, Fetch, Found, Page, Sessions, Sink, Sought};
use super::topic::TopicFilter;

/// How much is looked at in one step of a search.
const WINDOW_TICKS: i64 = 7 * 24 * 3600 * TICKS_PER_SECOND;

/// Most recordings that a scope names.
const SCOPE_MAX: usize = 1024;

/// Answers a call of this service.
pub(crate) async fn answer(
    call: &Call<'_>,
    backend: &Arc<dyn Backend>,
    sessions: &Sessions,
    new_token: impl FnOnce() -> String,
) -> Reply {
    match call.name() {
        "GetServiceCapabilities" => reply("tse:GetServiceCapabilitiesResponse", |writer| {
            service::capabilities(call, Service::Search, writer);
        }),
        "GetRecordingSummary" => summary(call).await,
        "GetRecordingInformation" => {
            let recording = recording::one(call).await?;
            reply("tse:GetRecordingInformationResponse", |writer| {
                writer.within("tse:RecordingInformation", |writer| information(writer, call, &recording));
            })
        }
        "GetMediaAttributes" => media_attributes(call).await,
        "FindRecordings" => {
            let token = find_recordings(call, backend, sessions, new_token())?;
            reply("tse:FindRecordingsResponse", |writer| writer.leaf("tse:SearchToken", &token))
        }
        "FindEvents" => {
            let token = find_events(call, backend, sessions, new_token())?;
            reply("tse:FindEventsResponse", |writer| writer.leaf("tse:SearchToken", &token))
        }
        "GetRecordingSearchResults" => {
            let page = sessions.fetch(call.text("SearchToken")?, false, fetch(call)?).await?;
            reply("tse:GetRecordingSearchResultsResponse", |writer| results(writer, call, &page))
        }
        "GetEventSearchResults" => {
            let page = sessions.fetch(call.text("SearchToken")?, true, fetch(call)?).await?;
            reply("tse:GetEventSearchResultsResponse", |writer| results(writer, call, &page))
        }
        "GetSearchState" => {
            let completed = sessions.completed(call.text("SearchToken")?)?;
            reply("tse:GetSearchStateResponse", |writer| writer.leaf("tse:State", state(completed)))
        }
        "EndSearch" => {
            // For a search of recordings the element must be there and means nothing.
            let reached = sessions.end(call.text("SearchToken")?)?.unwrap_or_else(|| backend.now());
            reply("tse:EndSearchResponse", |writer| {
                writer.leaf("tse:Endpoint", &lexical::date_time(reached));
            })
        }
        other => Err(Fault::not_supported(format!("the search service has no {other:?}"))),
    }
}

const fn state(completed: bool) -> &'static str {
    if completed { "Completed" } else { "Searching" }
}

/// The recordings that a search is about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    /// Tokens of sources; empty means all.
    sources: Vec<String>,
    /// Tokens of recordings; empty means all.
    recordings: Vec<String>,
}

impl Scope {
    fn read(call: &Call<'_>) -> Result<Self, Fault> {
        let Some(scope) = call.operation.child("Scope") else {
            return Ok(Self { sources: Vec::new(), recordings: Vec::new() });
        };
        if scope.text_at(&["RecordingInformationFilter"]).is_some() {
            return Err(Fault::filter(
                "RecordingInformationFilter is not supported: name recordings or sources",
            ));
        }
        // Some clients write the elements and leave them empty.
        let told = |element: &Element, path: &[&str]| {
            element.at(path).map(|found| found.text.clone()).filter(|text| !text.is_empty())
        };
        let sources: Vec<String> =
            scope.children("IncludedSources").filter_map(|source| told(source, &["Token"])).collect();
        let recordings: Vec<String> =
            scope.children("IncludedRecordings").filter_map(|token| told(token, &[])).collect();
        if sources.len().max(recordings.len()) > SCOPE_MAX {
            return Err(Fault::argument(format!("the scope names more than {SCOPE_MAX} recordings")));
        }
        Ok(Self { sources, recordings })
    }

    fn includes(&self, recording: &Recording) -> bool {
        (self.sources.is_empty() || self.sources.contains(&recording.source))
            && (self.recordings.is_empty() || self.recordings.contains(&recording.token))
    }

    async fn recordings(&self, backend: &dyn Backend) -> Result<Vec<Recording>, Fault> {
        let mut recordings = wait(backend.recordings(), "NoRecording").await?;
        recordings.retain(|recording| self.includes(recording));
        recordings.sort_by(|a, b| a.token.cmp(&b.token));
        Ok(recordings)
    }
}

fn find_recordings(
    call: &Call<'_>,
    backend: &Arc<dyn Backend>,
    sessions: &Sessions,
    token: String,
) -> Result<String, Fault> {
    let (scope, keep_alive) = (Scope::read(call)?, call.duration("KeepAliveTime")?);
    let most = call.count("MaxMatches")?.unwrap_or(usize::MAX);
    let backend = Arc::clone(backend);
    sessions.start(token, Sought::Recordings, keep_alive, move |sink| async move {
        for recording in scope.recordings(&*backend).await?.into_iter().take(most) {
            sink.found(Found::Recording(Box::new(recording))).await?;
        }
        Ok(())
    })
}

fn find_events(
    call: &Call<'_>,
    backend: &Arc<dyn Backend>,
    sessions: &Sessions,
    token: String,
) -> Result<String, Fault> {
    let start = call.time("StartPoint")?.ok_or_else(|| Fault::argument("FindEvents lacks StartPoint"))?;
    let end = call.time("EndPoint")?.unwrap_or_else(|| backend.now().max(start));
    let filter = TopicFilter::read(call.operation.child("SearchFilter"))?;
    let search = EventSearch {
        backend: Arc::clone(backend),
        scope: Scope::read(call)?,
        start,
        end,
        wanted: Wanted::by(&filter),
        start_state: call.flag("IncludeStartState")?,
        left: call.count("MaxMatches")?.unwrap_or(usize::MAX),
    };
    let keep_alive = call.duration("KeepAliveTime")?;
    sessions.start(token, Sought::Events { start, end }, keep_alive, move |sink| search.run(sink))
}

/// One search for events.
struct EventSearch {
    backend: Arc<dyn Backend>,
    scope: Scope,
    start: WallTime,
    end: WallTime,
    wanted: Wanted,
    start_state: bool,
    /// Matches that may still be told.
    left: usize,
}

impl EventSearch {
    async fn run(mut self, sink: Sink) -> Result<(), Ended> {
        if self.wanted.is_nothing() {
            return Ok(());
        }
        let recordings = self.scope.recordings(&*self.backend).await?;
        if self.start_state {
            let instant = Span { from: self.start, to: self.start.plus(1) };
            let mut events = Vec::new();
            for recording in &recordings {
                let sections = self.sections(recording, instant).await?;
                let tracks: Vec<String> = recording.tracks.iter().map(|track| track.token.clone()).collect();
                events.extend(history::start_state(
                    &recording.token,
                    &tracks,
                    &sections,
                    self.start,
                    self.wanted,
                ));
            }
            self.tell(events, &sink).await?;
        }
        for window in windows(self.start, self.end, &recordings, self.backend.now()) {
            let mut events = Vec::new();
            for recording in &recordings {
                let sections = self.sections(recording, history::needed(window)).await?;
                events.extend(history::events(&recording.token, &sections, window, self.wanted));
            }
            events.sort_by(|a, b| (a.time, &a.recording, &a.track).cmp(&(b.time, &b.recording, &b.track)));
            if self.end < self.start {
                events.reverse();
            }
            self.tell(events, &sink).await?;
            if self.left == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn sections(&self, recording: &Recording, span: Span) -> Result<Vec<TrackSections>, Fault> {
        wait(self.backend.sections(&recording.token, span), "NoRecording").await
    }

    async fn tell(&mut self, events: Vec<HistoryEvent>, sink: &Sink) -> Result<(), Ended> {
        for event in events.into_iter().take(self.left) {
            self.left = self.left.saturating_sub(1);
            sink.found(Found::Event(event)).await?;
        }
        Ok(())
    }
}

/// The windows of a search, in its order: they cover what of `start` to `end`, both included, can hold events.
fn windows(
    start: WallTime,
    end: WallTime,
    recordings: &[Recording],
    now: WallTime,
) -> impl Iterator<Item = Span> + use<> {
    let spans = || recordings.iter().flat_map(|recording| &recording.tracks).filter_map(|track| track.span);
    let earliest = spans().map(|span| span.from).min();
    // A recording that goes on has ended nothing after the present; one made under a wrong clock may lie after it.
    let latest = spans().map(|span| span.to).max().map(|latest| latest.max(now));
    let mut from = start.min(end).max(earliest.unwrap_or(WallTime::MAX));
    let mut to = start.max(end).min(latest.unwrap_or(WallTime::MIN)).plus(1);
    let backwards = end < start;
    std::iter::from_fn(move || {
        if backwards {
            let window = Span::new(from.max(to.plus(-WINDOW_TICKS)), to)?;
            to = window.from;
            Some(window)
        } else {
            let window = Span::new(from, to.min(from.plus(WINDOW_TICKS)))?;
            from = window.to;
            Some(window)
        }
    })
}

fn fetch(call: &Call<'_>) -> Result<Fetch, Fault> {
    Ok(Fetch {
        min: call.count("MinResults")?,
        max: call.count("MaxResults")?,
        // Without a time the client means to wait, but not how long.
        wait: Some(call.duration("WaitTime")?.unwrap_or(Duration::from_secs(5))),
    })
}

fn results(writer: &mut Writer, call: &Call<'_>, page: &Page) {
    writer.within("tse:ResultList", |writer| {
        writer.leaf("tt:SearchState", state(page.completed));
        for found in &page.found {
            match found {
                Found::Recording(recording) => {
                    writer.within("tt:RecordingInformation", |writer| information(writer, call, recording));
                }
                Found::Event(event) => writer.within("tt:Result", |writer| {
                    writer.leaf("tt:RecordingToken", &event.recording);
                    // The element must be there; an event of the whole recording has no track.
                    writer.leaf("tt:TrackToken", event.track.as_deref().unwrap_or_default());
                    writer.leaf("tt:Time", &lexical::date_time(event.time));
                    writer.within("tt:Event", |writer| event.notification().write(writer));
                    writer.leaf("tt:StartStateEvent", if event.start_state { "true" } else { "false" });
                }),
            }
        }
    });
}

/// From the first data of any track up to the last.
fn extent<'a>(tracks: impl IntoIterator<Item = &'a Track>) -> Option<Span> {
    let spans = tracks.into_iter().filter_map(|track| track.span);
    spans.reduce(|a, b| Span { from: a.from.min(b.from), to: a.to.max(b.to) })
}

async fn summary(call: &Call<'_>) -> Reply {
    let recordings = recording::all(call).await?;
    let extent = extent(recordings.iter().flat_map(|recording| &recording.tracks));
    // The schema wants both times also where nothing is recorded.
    let present = call.backend.now();
    let (from, until) = extent.map_or((present, present), |extent| (extent.from, extent.to));
    reply("tse:GetRecordingSummaryResponse", |writer| {
        writer.within("tse:Summary", |writer| {
            writer.leaf("tt:DataFrom", &lexical::date_time(from));
            writer.leaf("tt:DataUntil", &lexical::date_time(until));
            writer.leaf("tt:NumberRecordings", &recordings.len().to_string());
        });
    })
}

fn information(writer: &mut Writer, call: &Call<'_>, recording: &Recording) {
    writer.leaf("tt:RecordingToken", &recording.token);
    writer.within("tt:Source", |writer| recording::source(writer, call, recording));
    if let Some(extent) = extent(&recording.tracks) {
        writer.leaf("tt:EarliestRecording", &lexical::date_time(extent.from));
        writer.leaf("tt:LatestRecording", &lexical::date_time(extent.to));
    }
    writer.leaf("tt:Content", &recording.content);
    for track in &recording.tracks {
        writer.within("tt:Track", |writer| track_information(writer, call, track));
    }
    let empty = recording.tracks.iter().all(|track| track.span.is_none());
    let status = match (recording.active, empty) {
        (true, _) => "Recording",
        (false, true) => "Initiated",
        (false, false) => "Stopped",
    };
    writer.leaf("tt:RecordingStatus", status);
}

fn track_information(writer: &mut Writer, call: &Call<'_>, track: &Track) {
    writer.leaf("tt:TrackToken", &track.token);
    writer.leaf("tt:TrackType", type_of(track.kind));
    writer.leaf("tt:Description", description(track.kind));
    // An empty track has two equal times (ONVIF Recording Search, TrackInformation).
    let present = call.backend.now();
    let (from, to) = track.span.map_or((present, present), |span| (span.from, span.to));
    writer.leaf("tt:DataFrom", &lexical::date_time(from));
    writer.leaf("tt:DataTo", &lexical::date_time(to));
}

async fn media_attributes(call: &Call<'_>) -> Reply {
    // Some clients leave out the time and mean the present.
    let time = call.time("Time")?.unwrap_or_else(|| call.backend.now());
    let wanted: Vec<&str> =
        call.operation.children("RecordingTokens").map(|token| token.text.as_str()).collect();
    if wanted.len() > SCOPE_MAX {
        return Err(Fault::argument(format!("more than {SCOPE_MAX} recordings are named")));
    }
    let mut recordings = recording::all(call).await?;
    if let Some(unknown) = wanted.iter().find(|token| recordings.iter().all(|known| known.token != **token)) {
        return Err(Fault::value("NoRecording", format!("there is no recording {unknown:?}")));
    }
    recordings.retain(|recording| wanted.is_empty() || wanted.contains(&recording.token.as_str()));
    let mut valid = Vec::new();
    for recording in &recordings {
        let instant = Span { from: time, to: time.plus(1) };
        let sections = wait(call.backend.sections(&recording.token, instant), "NoRecording").await?;
        valid.push(section_around(&sections, time, call.backend.now()));
    }
    reply("tse:GetMediaAttributesResponse", |writer| {
        for (recording, valid) in recordings.iter().zip(&valid) {
            writer.within("tse:MediaAttributes", |writer| {
                writer.leaf("tt:RecordingToken", &recording.token);
                for track in &recording.tracks {
                    writer.within("tt:TrackAttributes", |writer| track_attributes(writer, call, track));
                }
                writer.leaf("tt:From", &lexical::date_time(valid.0));
                writer.leaf("tt:Until", &lexical::date_time(valid.1));
            });
        }
    })
}

/// How long the attributes at `time` hold for sure: while every track goes on that has data there.
fn section_around(tracks: &[TrackSections], time: WallTime, now: WallTime) -> (WallTime, WallTime) {
    let around = tracks.iter().flat_map(|track| &track.sections).filter_map(|section| {
        let to = section.to.unwrap_or(now.max(time));
        (section.from <= time && time <= to).then_some((section.from, to))
    });
    around.reduce(|a, b| (a.0.max(b.0), a.1.min(b.1))).unwrap_or((time, time))
}

fn track_attributes(writer: &mut Writer, call: &Call<'_>, track: &Track) {
    writer.within("tt:TrackInformation", |writer| track_information(writer, call, track));
    match track.kind {
        TrackKind::Video(video) => writer.within("tt:VideoAttributes", |writer| {
            writer.leaf("tt:Bitrate", &video.bitrate_kbps.to_string());
            writer.leaf("tt:Width", &video.width.to_string());
            writer.leaf("tt:Height", &video.height.to_string());
            // The schema of the first version knows no H.265; devices that record it name it all the same.
            writer.leaf("tt:Encoding", &video.codec.to_string());
            writer.leaf("tt:Framerate", &video.frames_per_second.to_string());
        }),
        TrackKind::Audio(audio) => writer.within("tt:AudioAttributes", |writer| {
            writer.leaf("tt:Bitrate", &audio.bitrate_kbps.to_string());
            let codec: AudioCodec = audio.codec;
            writer.leaf("tt:Encoding", media::encoding(codec));
            writer.leaf("tt:Samplerate", &(audio.sample_rate / 1000).to_string());
        }),
        TrackKind::Metadata => writer.within("tt:MetadataAttributes", |writer| {
            writer.leaf("tt:CanContainPTZ", "false");
            writer.leaf("tt:CanContainAnalytics", "true");
            writer.leaf("tt:CanContainNotifications", "true");
        }),
    }
}
