//! Search sessions.

use std::time::Duration;

use keepwatch_model::WallTime;
use tokio::time::{Instant, advance};

use crate::device::history::HistoryEvent;
use crate::device::session::{Fetch, Found, Page, Sessions, Sink, Sought};

use super::fake::{Card, Fake, HOUR, Site, at};
use crate::lexical;
use crate::xml::Element;

const TRACK_STATE: &str = "tns1:RecordingHistory/Track/State";

/// A search for events, with what stands between scope and KeepAliveTime.
fn find_events(start: WallTime, end: WallTime, scope: &str, topic: &str, rest: &str) -> String {
    format!(
        "<tse:FindEvents><tse:StartPoint>{start}</tse:StartPoint><tse:EndPoint>{end}</tse:EndPoint>\
         <tse:Scope>{scope}</tse:Scope><tse:SearchFilter><wsnt:TopicExpression Dialect='x'>{topic}\
         </wsnt:TopicExpression></tse:SearchFilter>{rest}<tse:KeepAliveTime>PT30S</tse:KeepAliveTime></tse:FindEvents>"
    )
}

async fn start(site: &Site, ask: &str) -> String {
    site.call(ask).await.text_at(&["SearchToken"]).unwrap().to_owned()
}

fn fetch(what: &str, token: &str, arguments: &str) -> String {
    format!("<tse:{what}><tse:SearchToken>{token}</tse:SearchToken>{arguments}</tse:{what}>")
}

fn state(list: &Element) -> &str {
    list.text_at(&["ResultList", "SearchState"]).unwrap()
}

/// All results of a search, fetched in pages of `page`.
async fn all(site: &Site, what: &str, token: &str, page: usize) -> Vec<Element> {
    let mut results = Vec::new();
    loop {
        let ask = fetch(what, token, &format!("<tse:MaxResults>{page}</tse:MaxResults>"));
        let answer = site.call(&ask).await;
        let completed = state(&answer) == "Completed";
        let list = answer.child("ResultList").unwrap();
        let found = list.children.iter().filter(|child| child.name != "SearchState");
        let before = results.len();
        results.extend(found.cloned());
        assert!(results.len() - before <= page);
        if completed {
            return results;
        }
    }
}

/// Hours after the epoch in halves, recording, track, value and whether it is a start state.
fn told(results: &[Element]) -> Vec<(i64, String, String, bool, bool)> {
    results
        .iter()
        .map(|result| {
            let text = |path: &[&str]| result.text_at(path).unwrap_or_default().to_owned();
            let time = lexical::parse_date_time(&text(&["Time"])).unwrap();
            let item = result.at(&["Event", "Message", "Message", "Data", "SimpleItem"]).unwrap();
            let value = item.attribute("Value") == Some("true");
            let start = text(&["StartStateEvent"]) == "true";
            let halves = time.ticks_since(at(0)) / (HOUR / 2);
            (halves, text(&["RecordingToken"]), text(&["TrackToken"]), value, start)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_sections_of_a_track_are_found_in_order_with_the_state_at_the_start() {
    let site = Site::new(Fake::new());
    let scope = "<tt:IncludedRecordings>rec0001</tt:IncludedRecordings>";
    let rest = "<tse:IncludeStartState>true</tse:IncludeStartState>";
    let ask = find_events(at(1).plus(HOUR / 4), at(3), scope, TRACK_STATE, rest);
    let token = start(&site, &ask).await;
    let results = told(&all(&site, "GetEventSearchResults", &token, 1000).await);
    let video: Vec<_> = results.iter().filter(|result| result.2 == "VIDEO001").collect();
    let expected = [(2, true, true), (3, false, false), (4, true, false), (5, false, false)];
    let found: Vec<_> = video.iter().map(|result| (result.0, result.3, result.4)).collect();
    assert_eq!(found, expected, "{video:?}");
    assert!(results.iter().all(|result| result.1 == "rec0001" && !result.2.is_empty()));
    assert!(results.is_sorted_by_key(|result| result.0));
    // A track without data is told to have none at the start, and nothing after.
    let empty: Vec<_> = results.iter().filter(|result| result.2 == "META001").collect();
    assert_eq!(empty.len(), 1);
    assert!(!empty[0].3);
}

#[tokio::test(start_paused = true)]
async fn pages_of_any_size_give_the_same_and_nothing_twice() {
    let site = Site::new(Fake { recordings: 5, hours: 40, ..Fake::new() });
    let ask = find_events(at(-1000), at(1000), "", "tns1:RecordingHistory//.", "");
    let mut seen = None;
    for page in [1, 7, 256, 1000] {
        let token = start(&site, &ask).await;
        let results = told(&all(&site, "GetEventSearchResults", &token, page).await);
        // Two tracks and the recording as a whole, each with a beginning and an end in every hour.
        assert_eq!(results.len(), 5 * 40 * 3 * 2);
        assert!(results.is_sorted_by_key(|result| result.0));
        assert_eq!(*seen.get_or_insert_with(|| results.clone()), results, "pages of {page}");
    }
    let backwards = start(&site, &find_events(at(1000), at(-1000), "", "tns1:RecordingHistory//.", "")).await;
    let mut results = told(&all(&site, "GetEventSearchResults", &backwards, 100).await);
    results.reverse();
    assert_eq!(Some(results), seen);
}

#[tokio::test(start_paused = true)]
async fn a_year_is_searched_in_windows() {
    let site = Site::new(Fake { recordings: 1, hours: 24 * 365, ..Fake::new() });
    let token = start(&site, &find_events(at(0), at(24 * 365), "", TRACK_STATE, "")).await;
    let results = all(&site, "GetEventSearchResults", &token, 1000).await;
    assert_eq!(results.len(), 24 * 365 * 2 * 2);
}

#[tokio::test(start_paused = true)]
async fn a_search_ends_after_as_many_matches_as_are_wanted() {
    let site = Site::new(Fake::new());
    let rest = "<tse:IncludeStartState>true</tse:IncludeStartState><tse:MaxMatches>4</tse:MaxMatches>";
    let token = start(&site, &find_events(at(0), at(3), "", TRACK_STATE, rest)).await;
    assert_eq!(all(&site, "GetEventSearchResults", &token, 3).await.len(), 4);
    let ask = "<tse:FindRecordings><tse:Scope/><tse:MaxMatches>1</tse:MaxMatches>\
               <tse:KeepAliveTime>PT10S</tse:KeepAliveTime></tse:FindRecordings>";
    let token = start(&site, ask).await;
    assert_eq!(all(&site, "GetRecordingSearchResults", &token, 10).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn recordings_are_found_by_scope_and_filters_that_are_not_known_are_refused() {
    let site = Site::new(Fake { recordings: 30, ..Fake::new() });
    let ask = |scope: &str| {
        format!(
            "<tse:FindRecordings><tse:Scope>{scope}</tse:Scope><tse:KeepAliveTime>PT10S</tse:KeepAliveTime>\
             </tse:FindRecordings>"
        )
    };
    let source =
        |token: &str| format!("<tt:IncludedSources><tt:Token>{token}</tt:Token></tt:IncludedSources>");
    let one = "<tt:IncludedRecordings>rec0007</tt:IncludedRecordings>".to_owned();
    let blank = "<tt:IncludedSources/><tt:IncludedRecordings/>".to_owned();
    for (scope, count) in
        [(source("main"), 30), (source("none"), 0), (one, 1), (blank, 30), (String::new(), 30)]
    {
        let token = start(&site, &ask(&scope)).await;
        assert_eq!(all(&site, "GetRecordingSearchResults", &token, 4).await.len(), count, "{scope}");
    }
    let filter = "<tt:RecordingInformationFilter>boolean(//x)</tt:RecordingInformationFilter>";
    assert_eq!(site.refused(&ask(filter)).await, (400, "InvalidFilterFault".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_token_dies_with_its_last_result_with_the_end_and_with_silence() {
    let site = Site::new(Fake::new());
    let dead = (400, "InvalidToken".to_owned());
    let ask = find_events(at(0), at(3), "", TRACK_STATE, "");
    let results = |token: &str| fetch("GetEventSearchResults", token, "");

    let completed = start(&site, &ask).await;
    all(&site, "GetEventSearchResults", &completed, 1000).await;
    assert_eq!(site.refused(&results(&completed)).await, dead);
    let end = site.call(&fetch("EndSearch", &completed, "")).await;
    assert_eq!(end.text_at(&["Endpoint"]), Some(at(3).to_string().as_str()));
    assert_eq!(site.refused(&fetch("EndSearch", &completed, "")).await, dead);

    let ended = start(&site, &ask).await;
    site.call(&fetch("GetEventSearchResults", &ended, "<tse:MaxResults>3</tse:MaxResults>")).await;
    let end = site.call(&fetch("EndSearch", &ended, "")).await;
    let reached = end.text_at(&["Endpoint"]).unwrap();
    assert!(reached < at(3).to_string().as_str(), "{reached}");
    assert_eq!(site.refused(&results(&ended)).await, dead);

    let silent = start(&site, &ask).await;
    for _ in 0..3 {
        advance(Duration::from_secs(29)).await;
        assert_eq!(
            site.call(&fetch("GetSearchState", &silent, "")).await.text_at(&["State"]),
            Some("Searching")
        );
    }
    advance(Duration::from_secs(31)).await;
    assert_eq!(site.refused(&results(&silent)).await, dead);
    // One of events is none of recordings.
    let other = start(&site, &ask).await;
    assert_eq!(site.refused(&fetch("GetRecordingSearchResults", &other, "")).await, dead);
}

#[tokio::test(start_paused = true)]
async fn a_slow_card_keeps_the_client_waiting_as_long_as_it_said() {
    let site = Site::new(Fake::new());
    *site.fake.card.lock().unwrap() = Card::Slow(Duration::from_secs(8));
    let ask =
        "<tse:FindRecordings><tse:Scope/><tse:KeepAliveTime>PT60S</tse:KeepAliveTime></tse:FindRecordings>";
    let token = start(&site, ask).await;
    let wait = |seconds: u32| {
        fetch("GetRecordingSearchResults", &token, &format!("<tse:WaitTime>PT{seconds}S</tse:WaitTime>"))
    };
    let begin = Instant::now();
    let first = site.call(&wait(5)).await;
    assert_eq!((state(&first), begin.elapsed()), ("Searching", Duration::from_secs(5)));
    let second = site.call(&wait(5)).await;
    assert_eq!((state(&second), begin.elapsed()), ("Completed", Duration::from_secs(8)));
    assert_eq!(second.child("ResultList").unwrap().children.len(), 3);
}

/// A device must grant 10 s of silence only; a client may wait for a minute, and does not speak meanwhile.
#[tokio::test(start_paused = true)]
async fn a_search_lives_while_its_client_waits() {
    let site = Site::new(Fake::new());
    *site.fake.card.lock().unwrap() = Card::Slow(Duration::from_secs(18));
    let ask =
        "<tse:FindRecordings><tse:Scope/><tse:KeepAliveTime>PT10S</tse:KeepAliveTime></tse:FindRecordings>";
    let token = start(&site, ask).await;
    let expiring = async {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            site.device.expire();
        }
    };
    let wait = fetch("GetRecordingSearchResults", &token, "<tse:WaitTime>PT60S</tse:WaitTime>");
    let waiting = async {
        // It gives up before the device has an answer, as it does when its connection is cut, and comes back.
        let cut = tokio::time::timeout(Duration::from_secs(12), site.call(&wait)).await;
        assert!(cut.is_err());
        site.call(&wait).await
    };
    let answer = tokio::select! {
        answer = waiting => answer,
        () = expiring => unreachable!("it has no end"),
    };
    assert_eq!((state(&answer), answer.child("ResultList").unwrap().children.len()), ("Completed", 3));
}

#[tokio::test(start_paused = true)]
async fn what_was_found_for_a_client_that_went_is_fetched_when_it_comes_back() {
    let sessions = Sessions::default();
    let event = |number: i64| {
        Found::Event(HistoryEvent {
            time: at(number),
            recording: "rec0001".to_owned(),
            track: None,
            data: true,
            start_state: false,
        })
    };
    let search = move |sink: Sink| async move {
        for number in 0..3 {
            sink.found(event(number)).await?;
        }
        std::future::pending().await
    };
    let sought = Sought::Events { start: at(0), end: at(9) };
    let token = sessions.start("t".to_owned(), sought, None, search).unwrap();
    let whole_page = Fetch { min: None, max: None, wait: Some(Duration::from_secs(20)) };
    let cut = tokio::time::timeout(Duration::from_secs(5), sessions.fetch(&token, true, whole_page)).await;
    assert!(cut.is_err(), "a whole page is waited for");
    let two = Fetch { min: Some(2), max: Some(2), wait: Some(Duration::ZERO) };
    let page = sessions.fetch(&token, true, two).await.unwrap();
    assert_eq!(page, Page { found: vec![event(0), event(1)], completed: false });
    let rest = sessions.fetch(&token, true, Fetch { max: None, ..two }).await.unwrap();
    assert_eq!(rest.found, [event(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_card_is_told_by_the_results_and_an_empty_one_has_none() {
    let site = Site::new(Fake::new());
    let ask = find_events(at(0), at(3), "", TRACK_STATE, "");
    *site.fake.card.lock().unwrap() = Card::Missing;
    let token = start(&site, &ask).await;
    let results = fetch("GetEventSearchResults", &token, "");
    assert_eq!(site.refused(&results).await, (500, "Action".to_owned()));
    *site.fake.card.lock().unwrap() = Card::Empty;
    let token = start(&site, &ask).await;
    assert!(all(&site, "GetEventSearchResults", &token, 10).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_searches_and_finished_ones_make_room() {
    let site = Site::new(Fake::new());
    let ask = find_events(at(0), at(3), "", TRACK_STATE, "");
    let mut tokens = Vec::new();
    let refused = loop {
        if tokens.len() > 100 {
            break None;
        }
        let (status, answer) = {
            let proof = super::fake::Proof::Token(super::fake::viewer());
            site.post("/onvif/search_service", &ask, &proof).await
        };
        match answer.text_at(&["SearchToken"]) {
            Some(token) => tokens.push(token.to_owned()),
            None => break Some(status),
        }
    };
    assert_eq!((refused, tokens.len()), (Some(500), 32));
    all(&site, "GetEventSearchResults", &tokens[5], 1000).await;
    start(&site, &ask).await;
    assert_eq!(site.refused(&ask).await, (500, "ResourceProblem".to_owned()));
    // Silent ones expire without being asked.
    advance(Duration::from_secs(31)).await;
    site.device.expire();
    start(&site, &ask).await;
}
