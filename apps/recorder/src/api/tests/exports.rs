//! Archives of export jobs: what is on record of a fetch, and how many there are at a time.

use std::fs::{self, File};
use std::time::Duration;

use keepwatch_model::StreamId;

use super::*;
use crate::clock::Clock;
use crate::jobs::{FETCHES_MAX, Order};

/// More than waits for a client that takes nothing.
const ARCHIVE_BYTES: u64 = 2 << 20;

/// Puts the job 1, which is done, with its archive into a data directory.
fn put_job(data: &Path) {
    let now = Clock::new().wall();
    let order = Order {
        cameras: vec!["gate".parse().unwrap(), "yard".parse().unwrap()],
        stream: StreamId::MAIN,
        from: now.plus(-180_000),
        to: now.plus(-90_000),
        audio: true,
        by: "admin".to_owned(),
        created: now,
        audit_head: None,
    };
    let kept = json!({"id": 1, "order": order, "state": "done", "bytes": ARCHIVE_BYTES, "ended": now, "error": null});
    let folder = data.join("exports");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("1.json"), kept.to_string()).unwrap();
    File::create(folder.join("1.zip")).unwrap().set_len(ARCHIVE_BYTES).unwrap();
}

/// Fetches the archive, or a range of it; the body is not taken yet.
async fn fetch(site: &Site, token: &str, range: Option<&str>) -> Response<Body> {
    let mut headers = vec![("Authorization", format!("Bearer {token}"))];
    headers.extend(range.map(|range| ("Range", range.to_owned())));
    site.send(&Method::GET, "/api/v1/exports/1/file", &headers, &Value::Null).await
}

#[tokio::test]
async fn no_range_of_an_archive_is_fetched_without_an_entry_for_each_camera() {
    let site = Site::start_with(put_job).await;
    let admin = site.session("admin").await;
    for (range, part) in [
        (None, ""),
        (Some("bytes=1-"), ", bytes 1-2097151/2097152"),
        (Some("bytes=-10"), ", bytes 2097142-2097151/2097152"),
    ] {
        let fetched = fetch(&site, &admin, range).await;
        assert_eq!(fetched.status().as_u16(), if range.is_some() { 206 } else { 200 });
        let audit = site.get("/api/v1/audit", &admin).await;
        for camera in ["camera:gate", "camera:yard"] {
            let detail = format!("export 1 fetched{part}");
            let tells = |entry: &&Value| {
                entry["action"] == "footage_exported"
                    && entry["object"] == camera
                    && entry["detail"] == detail
            };
            let entries = audit["items"].as_array().unwrap().iter().filter(tells).count();
            assert_eq!(entries, 1, "{range:?} of {camera}: {audit}");
        }
    }
    site.node.stop().await;
}

#[tokio::test]
async fn clients_that_fetch_slowly_take_so_many_places_and_no_more() {
    let site = Site::start_with(put_job).await;
    let admin = site.session("admin").await;
    let mut slow = Vec::new();
    for _ in 0..FETCHES_MAX {
        let fetched = fetch(&site, &admin, None).await;
        assert_eq!(fetched.status().as_u16(), 200);
        slow.push(fetched);
    }
    let refused = fetch(&site, &admin, None).await;
    assert_eq!(refused.status().as_u16(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["code"], "fetches_busy");

    // One that takes all of it gives its place back, and so does one that hangs up.
    let whole = slow.pop().unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(u64::try_from(whole.len()).unwrap(), ARCHIVE_BYTES);
    drop(slow.pop());
    let served = async {
        let mut served = Vec::new();
        while served.len() < 2 {
            let fetched = fetch(&site, &admin, None).await;
            match fetched.status().as_u16() {
                200 => served.push(fetched),
                503 => tokio::task::yield_now().await,
                status => panic!("{status}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), served).await.unwrap();
    site.node.stop().await;
}
