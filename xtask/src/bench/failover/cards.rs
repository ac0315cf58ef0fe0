//! What a recorder missed comes from the cards of its cameras, at the speed that was set.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{CAMERAS, LASTS, items, judge, stage};
use crate::bench::report::{Case, figures, rounded};
use crate::bench::site::{Carrier, Load, Recorder, Site, Wanted};
use crate::process;
use crate::workspace::Workspace;

/// What the cards are read with, all of them together: a quarter less than all cameras send.
const BITS_PER_SECOND: u32 = 48_000_000;
/// How far from it they may be read.
const RATE_OFF_PERCENT_MAX: f64 = 10.0;

/// The recorder's lines to all of its cameras are cut for a while, and no standby is there.
pub(super) fn filled_from_cards(workspace: &Workspace) -> Result<Case> {
    let folder = tempfile::tempdir_in(workspace.metadata.target_directory.as_std_path())?;
    let load = Load::start_with_cards(workspace, CAMERAS, folder.path())?;
    let more = format!(
        "[recorder]\nbackfill_cards = true\nbackfill_rate = \"{} Mbit/s\"\n",
        BITS_PER_SECOND / 1_000_000
    );
    let wanted = Wanted {
        name: "cards",
        listen: "127.0.0.1:0",
        cameras: &load.cameras,
        carrier: Carrier::Tcp,
        size: "4 GiB",
        more: &more,
        host: None,
    };
    let site = Site::of(workspace, &load, &wanted)?;
    let recorder = site.start()?;
    recorder.all_recording()?;
    process::pause(Duration::from_secs(5));
    recorder.says(&["backfill", "pause"])?;
    load.tell(workspace, &json!({"site": "cut"}))?;
    process::pause(LASTS);
    load.tell(workspace, &json!({"site": "restore"}))?;
    recorder.all_recording()?;
    process::pause(Duration::from_secs(5));

    recorder.says(&["backfill", "resume"])?;
    let begun = Instant::now();
    let replenished = stage::wait_replenished(&recorder, &load.cameras);
    let took_s = begun.elapsed().as_secs_f64();
    if let Err(error) = replenished {
        println!("\ncards: {error:#}");
    }
    let bits = fetched_bytes(&recorder)? as f64 * 8.0;
    let off_percent = (bits / took_s / f64::from(BITS_PER_SECOND) - 1.0).abs() * 100.0;
    recorder.end()?;
    drop(load);
    let (missing, twice) = judge::alone(&site.frames()?);
    let figures = figures([
        ("frames_missing", json!(missing)),
        ("frames_twice", json!(twice)),
        ("replenished_s", rounded(took_s)),
        ("read_mbit_per_s", rounded(bits / took_s / 1e6)),
        ("off_the_set_speed_percent", rounded(off_percent)),
    ]);
    let reach = vec![
        ("frames_missing", 0.0),
        ("frames_twice", 0.0),
        ("off_the_set_speed_percent", RATE_OFF_PERCENT_MAX),
    ];
    let what = format!(
        "lines to {CAMERAS} cameras cut, cards only, read with {} Mbit/s",
        BITS_PER_SECOND / 1_000_000
    );
    Ok(Case::new(what, figures, reach))
}

/// What the last job of each camera brought.
fn fetched_bytes(recorder: &Recorder) -> Result<u64> {
    let standing: Value = recorder.get("/api/v1/replenishment")?;
    Ok(items(&standing["items"]).filter_map(|camera| camera["last"]["bytes"].as_u64()).sum())
}
