use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keepwatch_model::{Span, WallTime};
use keepwatch_onvif::client::{ClientError, TrackType};

use crate::script::{Answer, Script};

fn time(text: &str) -> WallTime {
    text.parse().unwrap()
}

fn recording(token: &str) -> String {
    format!(
        "<tt:RecordingInformation><tt:RecordingToken>{token}</tt:RecordingToken><tt:Source><tt:Name>Gate</tt:Name></tt:Source>\
         <tt:EarliestRecording>2026-11-20T00:00:00Z</tt:EarliestRecording><tt:LatestRecording>2026-11-22T00:00:00Z</tt:LatestRecording>\
         <tt:Track><tt:TrackToken>V</tt:TrackToken><tt:TrackType>Video</tt:TrackType><tt:DataFrom>2026-11-20T00:00:00Z</tt:DataFrom>\
         <tt:DataTo>2026-11-22T00:00:00Z</tt:DataTo></tt:Track><tt:Track><tt:TrackToken>E</tt:TrackToken><tt:TrackType>Extended</tt:TrackType>\
         </tt:Track></tt:RecordingInformation>"
    )
}

fn results(call: &str, state: &str, list: &str) -> Answer {
    Answer::body(&format!(
        "<tse:{call}Response><tse:ResultList><tt:SearchState>{state}</tt:SearchState>{list}</tse:ResultList></tse:{call}Response>"
    ))
}

fn found(call: &str) -> Answer {
    Answer::body(&format!("<tse:{call}Response><tse:SearchToken>S1</tse:SearchToken></tse:{call}Response>"))
}

#[tokio::test]
async fn recordings_are_read_page_by_page_and_a_completed_search_is_left_alone() {
    static PAGE: AtomicUsize = AtomicUsize::new(0);
    let script = Script::device(|asked| match asked.call.as_str() {
        "FindRecordings" => found("FindRecordings"),
        "GetRecordingSearchResults" => {
            assert_eq!(asked.text(&["SearchToken"]), "S1");
            match PAGE.fetch_add(1, Ordering::Relaxed) {
                0 => results("GetRecordingSearchResults", "Queued", ""),
                1 => results("GetRecordingSearchResults", "Searching", &recording("R1")),
                _ => results("GetRecordingSearchResults", "Completed", &recording("R2")),
            }
        }
        other => panic!("{other}"),
    });
    let script = script.await;
    let begun = std::time::Instant::now();
    let recordings = script.connect().await.recordings().await.unwrap();
    assert!(
        begun.elapsed() >= Duration::from_millis(990),
        "a page without a result was asked for again at once"
    );
    assert_eq!(recordings.iter().map(|found| found.token.as_str()).collect::<Vec<_>>(), ["R1", "R2"]);
    assert_eq!(
        (recordings[0].name.as_str(), recordings[0].earliest),
        ("Gate", Some(time("2026-11-20T00:00:00Z")))
    );
    let [video, extended] = &recordings[0].tracks[..] else { panic!() };
    assert_eq!((video.kind, extended.kind, extended.span), (TrackType::Video, TrackType::Other, None));
    assert_eq!(video.span, Span::new(time("2026-11-20T00:00:00Z"), time("2026-11-22T00:00:00Z")));
}

/// Axis finds only what a client of ONVIF had recorded; its list has all.
#[tokio::test]
async fn recordings_that_no_search_finds_are_listed() {
    let script = Script::device(|asked| match asked.call.as_str() {
        "FindRecordings" => found("FindRecordings"),
        "GetRecordingSearchResults" => results("GetRecordingSearchResults", "Completed", ""),
        "GetRecordings" => Answer::body(
            "<trc:GetRecordingsResponse><trc:RecordingItem><tt:RecordingToken>R1</tt:RecordingToken><tt:Configuration><tt:Source>\
             <tt:Name>Yard</tt:Name></tt:Source></tt:Configuration><tt:Tracks><tt:Track><tt:TrackToken>V</tt:TrackToken><tt:Configuration>\
             <tt:TrackType>Video</tt:TrackType></tt:Configuration></tt:Track></tt:Tracks></trc:RecordingItem><trc:RecordingItem>\
             <tt:RecordingToken>R2</tt:RecordingToken></trc:RecordingItem></trc:GetRecordingsResponse>",
        ),
        "GetRecordingInformation" if asked.text(&["RecordingToken"]) == "R2" => Answer::body(&format!(
            "<tse:GetRecordingInformationResponse>{}</tse:GetRecordingInformationResponse>",
            recording("R2")
        )),
        "GetRecordingInformation" => Answer::fault(&["InvalidArgVal", "InvalidToken"], "no"),
        other => panic!("{other}"),
    });
    let recordings = script.await.connect().await.recordings().await.unwrap();
    let [first, second] = &recordings[..] else { panic!("{recordings:?}") };
    assert_eq!((first.name.as_str(), first.earliest, first.tracks[0].kind), ("Yard", None, TrackType::Video));
    assert_eq!((second.token.as_str(), second.latest), ("R2", Some(time("2026-11-22T00:00:00Z"))));
}

#[tokio::test]
async fn a_search_that_never_ends_is_ended() {
    let script = Script::device(|asked| match asked.call.as_str() {
        "FindEvents" => found("FindEvents"),
        "GetEventSearchResults" => {
            results("GetEventSearchResults", "Searching", &"<tt:Result/>".repeat(10_000))
        }
        "EndSearch" => Answer::fault(&["InvalidArgVal", "InvalidToken"], "gone"),
        other => panic!("{other}"),
    });
    let script = script.await;
    let span = Span::new(time("2026-11-20T00:00:00Z"), time("2026-11-21T00:00:00Z")).unwrap();
    let error = script.connect().await.sections("R1", span).await.unwrap_err();
    assert!(matches!(error, ClientError::Endless { .. }), "{error}");
    assert_eq!((script.count("GetEventSearchResults"), script.count("EndSearch")), (6, 1));
}

fn day() -> Span {
    Span::new(time("2026-11-20T00:00:00Z"), time("2026-11-21T00:00:00Z")).unwrap()
}

#[tokio::test]
async fn a_search_that_fails_is_ended() {
    for broken in [
        Answer::fault as fn(&[&str], &str) -> Answer,
        |_, _| Answer::body("<tse:GetEventSearchResultsResponse/>"),
        |_, _| Answer::raw(500, "busy"),
    ] {
        let script = Script::device(move |asked| match asked.call.as_str() {
            "FindEvents" => found("FindEvents"),
            "GetEventSearchResults" => broken(&["Action"], "the card is away"),
            "EndSearch" => {
                assert_eq!(asked.text(&["SearchToken"]), "S1");
                Answer::body("<tse:EndSearchResponse/>")
            }
            other => panic!("{other}"),
        });
        let script = script.await;
        assert!(script.connect().await.sections("R1", day()).await.is_err());
        assert_eq!(script.count("EndSearch"), 1);
    }
}

#[tokio::test]
async fn a_search_that_is_given_up_is_ended() {
    let script = Script::device(|asked| match asked.call.as_str() {
        "FindEvents" => found("FindEvents"),
        "GetEventSearchResults" => results("GetEventSearchResults", "Searching", ""),
        _ => Answer::body("<tse:EndSearchResponse/>"),
    });
    let script = script.await;
    let device = script.connect().await;
    let given_up = async {
        while script.count("GetEventSearchResults") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = device.sections("R1", day()) => panic!("{ended:?}"),
        () = given_up => {}
    }
    let begun = std::time::Instant::now();
    while script.count("EndSearch") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the search is left behind");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn sections_come_from_changes_in_any_order_and_of_this_recording_only() {
    static PAGE: AtomicUsize = AtomicUsize::new(0);
    fn change(recording: &str, track: &str, at: &str, present: bool, state: bool) -> String {
        format!(
            "<tt:Result><tt:RecordingToken>{recording}</tt:RecordingToken><tt:TrackToken>{track}</tt:TrackToken><tt:Time>2026-11-20T{at}Z</tt:Time>\
             <tt:Event><wsnt:Topic Dialect=\"d\">tns1:RecordingHistory/Track/State</wsnt:Topic><wsnt:Message><tt:Message UtcTime=\"2026-11-20T{at}Z\">\
             <tt:Source><tt:SimpleItem Name=\"RecordingToken\" Value=\"{recording}\"/><tt:SimpleItem Name=\"Track\" Value=\"{track}\"/></tt:Source>\
             <tt:Data><tt:SimpleItem Name=\"IsDataPresent\" Value=\"{present}\"/></tt:Data></tt:Message></wsnt:Message></tt:Event>\
             <tt:StartStateEvent>{state}</tt:StartStateEvent></tt:Result>"
        )
    }
    let script = Script::device(|asked| match asked.call.as_str() {
        "FindEvents" => {
            assert_eq!(asked.text(&["StartPoint"]), "2026-11-20T10:00:00.000000Z");
            assert_eq!(asked.text(&["Scope", "IncludedRecordings"]), "R1");
            assert_eq!(asked.text(&["SearchFilter", "TopicExpression"]), "tns1:RecordingHistory/Track/State");
            assert_eq!(asked.text(&["IncludeStartState"]), "true");
            found("FindEvents")
        }
        "GetEventSearchResults" => match PAGE.fetch_add(1, Ordering::Relaxed) {
            0 => {
                let late =
                    change("R1", "V", "11:30:00", true, false) + &change("R2", "V", "10:10:00", false, false);
                results("GetEventSearchResults", "Searching", &late)
            }
            _ => {
                let early =
                    change("R1", "V", "11:00:00", false, false) + &change("R1", "V", "09:00:00", true, true);
                let audio =
                    change("R1", "A", "10:15:00", true, false) + &change("R1", "A", "10:45:00", false, false);
                let other = early.replace("Track/State", "Track/Other");
                results("GetEventSearchResults", "Completed", &(early + &audio + &other))
            }
        },
        other => panic!("{other}"),
    });
    let (from, to) = (time("2026-11-20T10:00:00Z"), time("2026-11-20T12:00:00Z"));
    let sections = script.await.connect().await.sections("R1", Span::new(from, to).unwrap()).await.unwrap();
    let [audio, video] = &sections[..] else { panic!("{sections:?}") };
    assert_eq!((audio.track.as_str(), video.track.as_str()), ("A", "V"));
    let at = |text: &str| time(&format!("2026-11-20T{text}:00Z"));
    assert_eq!(audio.sections.spans(), [Span::new(at("10:15"), at("10:45")).unwrap()]);
    let expected = [Span::new(from, at("11:00")).unwrap(), Span::new(at("11:30"), to).unwrap()];
    assert_eq!(video.sections.spans(), expected);
}

#[tokio::test]
async fn a_recording_is_replayed_at_the_configured_host() {
    let script = Script::device(|asked| {
        assert_eq!(
            (asked.call.as_str(), asked.text(&["RecordingToken"])),
            ("GetReplayUri", "R&1".to_owned())
        );
        assert_eq!(asked.text(&["StreamSetup", "Transport", "Protocol"]), "RTSP");
        Answer::body(
            "<trp:GetReplayUriResponse><trp:Uri>rtsp://10.0.0.9/replay?r=R1</trp:Uri></trp:GetReplayUriResponse>",
        )
    });
    let uri = script.await.connect().await.replay_uri("R&1").await.unwrap();
    assert_eq!(uri.as_str(), "rtsp://127.0.0.1/replay?r=R1");
}
