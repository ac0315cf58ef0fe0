//! The peer recorder Moonfire NVR, driven from outside: its program is given by path in `PEER_MOONFIRE`.
//!
//! It has no command that adds cameras without a terminal, so their rows are written into the database that its own
//! `init` made, and the file that ties a directory of footage to that database is written beside them. Both follow
//! version 7 of its schema (releases 0.7.x); anything else is refused by name.
//!
//! It makes footage durable when a recording of about a minute is complete and its index is flushed. A window that
//! lay between two flushes would leave that work out, so it begins and ends on one: the first begins once every
//! camera has a flushed recording, and lasts until the flush a minute or more later. `flushIfSec` is the 120 s that
//! its guide recommends. A peer that flushed sooner would lose less in a crash and cost more.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::{Connection, params};
use serde_json::json;

use super::site::Load;
use super::usage::{Usage, bytes_below};
use crate::process::{self, Group};
use crate::workspace::Workspace;

/// The schema whose rows are written here.
const SCHEMA_VERSION: i64 = 7;
/// What its guide recommends: a flush once the first unflushed recording began so long ago.
const FLUSH_IF_S: u32 = 120;
/// Footage that each camera may keep: more than is ever recorded here, so that nothing is deleted in the window.
const RETAIN_BYTES: i64 = 64 << 30;
/// The size of the file that ties a directory to a database.
const DIR_META_BYTES: usize = 512;
/// The shortest window: every camera completes a recording in it.
const WINDOW_MIN: Duration = Duration::from_secs(60);
/// Longest until every camera has a flushed recording: the first one lasts up to 120 s, and is flushed 120 s after it
/// began.
const FIRST_FLUSH_LIMIT: Duration = Duration::from_secs(300);
/// Longest from one flush to the next.
const FLUSH_LIMIT: Duration = Duration::from_secs(200);
/// Longest that a command or an orderly end may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often its log is looked at; a hundredth of the window, so the window's ends are as exact as its figures.
const LOOK: Duration = Duration::from_millis(200);

/// The program, given by path.
pub(super) struct Moonfire {
    program: PathBuf,
}

/// What one measurement brought.
#[derive(Debug)]
pub(super) struct Measured {
    /// Processor seconds per 10^9 bytes of footage written.
    pub(super) cpu_s_per_gb: f64,
    /// Resident memory per camera, in megabytes of 10^6 bytes.
    pub(super) rss_mb_per_camera: f64,
    /// From flush to flush, in seconds.
    pub(super) window_s: f64,
}

impl Moonfire {
    /// The program in `PEER_MOONFIRE`; `None` when the variable is not set. It is tried at once, so that one that does
    /// not fit is known before anything was measured.
    pub(super) fn given(workspace: &Workspace) -> Result<Option<Self>> {
        let Some(path) = std::env::var_os("PEER_MOONFIRE") else { return Ok(None) };
        let peer = Self { program: PathBuf::from(path) };
        let folder = tempfile::tempdir_in(workspace.metadata.target_directory.as_std_path())?;
        peer.prepare(folder.path(), &[("trial".to_owned(), "rtsp://127.0.0.1:1/trial".to_owned())])
            .with_context(|| format!("PEER_MOONFIRE={}", peer.program.display()))?;
        Ok(Some(peer))
    }

    /// Records `cameras` cameras of the load process from one flush to another.
    pub(super) fn measure(&self, workspace: &Workspace, cameras: usize) -> Result<Measured> {
        let load = Load::start(workspace, cameras)?;
        let folder = tempfile::tempdir_in(workspace.metadata.target_directory.as_std_path())?;
        let streams: Vec<(String, String)> = load
            .cameras
            .iter()
            .map(|camera| (camera.clone(), format!("rtsp://{}/{camera}", load.listening)))
            .collect();
        self.prepare(folder.path(), &streams)?;
        let mut running = self.start(folder.path())?;
        let all = u64::try_from(cameras)?;
        running
            .wait_for(FIRST_FLUSH_LIMIT, "a flushed recording of every camera", |log| flushed(log) >= all)?;
        let begun = Instant::now();
        let before = running.books()?;
        let so_far = flushed(&running.log()?);
        let mut seen = so_far;
        running.wait_for(FLUSH_LIMIT, "a flush a minute after the first", |log| {
            let flushed_now = flushed(log);
            let grew = flushed_now > seen;
            seen = flushed_now;
            grew && begun.elapsed() >= WINDOW_MIN
        })?;
        let after = running.books()?;
        let window_s = begun.elapsed().as_secs_f64();
        running.end()?;
        load.end()?;
        let gigabytes = after.bytes.saturating_sub(before.bytes) as f64 / 1e9;
        ensure!(
            gigabytes > 0.0,
            "it wrote nothing within {window_s:.0} s; its log ends with:\n{}",
            running.tail()
        );
        check(&database(folder.path()), cameras)?;
        Ok(Measured {
            cpu_s_per_gb: (after.usage.cpu_s - before.usage.cpu_s) / gigabytes,
            rss_mb_per_camera: after.usage.rss_mb / cameras as f64,
            window_s,
        })
    }

    /// Makes a database and a directory of footage in `folder` that record `streams`, pairs of name and address.
    fn prepare(&self, folder: &Path, streams: &[(String, String)]) -> Result<()> {
        let mut init = Command::new(&self.program);
        init.arg("init").arg("--db-dir").arg(folder.join("db"));
        quiet(&mut init);
        let finished = process::capture(&mut init, PATIENCE)?;
        ensure!(
            finished.status.is_some_and(|status| status.success()),
            "`init --db-dir` did not succeed:\n{}",
            finished.output
        );
        let database = database(folder);
        ensure!(database.is_file(), "`init --db-dir` succeeded and left no {}", database.display());
        let footage = folder.join("footage");
        std::fs::create_dir(&footage)?;
        let mut connection = Connection::open(&database)?;
        let database_id = configure(&mut connection, &footage, streams)
            .with_context(|| format!("{} is not as version {SCHEMA_VERSION} has it", database.display()))?;
        std::fs::write(footage.join("meta"), dir_meta(&database_id, &DIR_ID))?;
        std::fs::write(folder.join("moonfire.toml"), configuration(folder))?;
        Ok(())
    }

    fn start(&self, folder: &Path) -> Result<Running> {
        let log = folder.join("log");
        let mut command = Command::new(&self.program);
        command.arg("run").arg("--config").arg(folder.join("moonfire.toml"));
        quiet(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(process::log_file(&log)?);
        Ok(Running { group: Group::spawn(&mut command)?, log, footage: folder.join("footage") })
    }
}

/// The program at work.
struct Running {
    group: Group,
    log: PathBuf,
    footage: PathBuf,
}

/// What it has used and written at one moment.
struct Books {
    usage: Usage,
    bytes: u64,
}

impl Running {
    fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// The end of its log, for a message.
    fn tail(&self) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    fn books(&self) -> Result<Books> {
        Ok(Books { usage: Usage::of(&[self.group.id()])?, bytes: bytes_below(&self.footage)? })
    }

    /// Waits until its log is as `wanted`.
    fn wait_for(&mut self, limit: Duration, what: &str, mut wanted: impl FnMut(&str) -> bool) -> Result<()> {
        let end = Instant::now() + limit;
        while !wanted(&self.log()?) {
            if let Some(status) = self.group.wait(LOOK)? {
                bail!("it ended with {status} while {what} was awaited; its log ends with:\n{}", self.tail());
            }
            if Instant::now() > end {
                bail!("no {what} within {limit:?}; its log ends with:\n{}", self.tail());
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.group.end(PATIENCE).with_context(|| format!("its log ends with:\n{}", self.tail()))
    }
}

/// Its log without colours and times, whatever the terminal; its time zone without a file of the machine.
fn quiet(command: &mut Command) {
    command.env("MOONFIRE_FORMAT", "systemd").env("MOONFIRE_LOG", "info").env("TZ", "UTC");
}

fn database(folder: &Path) -> PathBuf {
    folder.join("db").join("db")
}

/// The identity of the one directory of footage; any 16 bytes do, they only have to be the same in both places.
const DIR_ID: [u8; 16] = *b"keepwatch bench\0";

/// The runtime configuration: where the database is, and a socket that nobody uses.
fn configuration(folder: &Path) -> String {
    // A path in a TOML text is quoted as Rust quotes it.
    format!("dbDir = {:?}\n\n[[binds]]\nunix = {:?}\n", folder.join("db"), folder.join("socket"))
}

/// Writes a row for the directory and rows for each camera with its one stream; returns the database's identity.
fn configure(connection: &mut Connection, footage: &Path, streams: &[(String, String)]) -> Result<[u8; 16]> {
    let version: i64 = connection
        .query_row("select max(id) from version", [], |row| row.get(0))
        .context("its table `version` cannot be read")?;
    ensure!(
        version == SCHEMA_VERSION,
        "its schema is version {version}; rows are known for {SCHEMA_VERSION}"
    );
    let id: Vec<u8> = connection
        .query_row("select uuid from meta", [], |row| row.get(0))
        .context("its table `meta` cannot be read")?;
    let id = <[u8; 16]>::try_from(id).map_err(|id| anyhow::anyhow!("its identity has {} bytes", id.len()))?;
    let rows = connection.transaction()?;
    rows.execute(
        "insert into sample_file_dir (id, uuid, config) values (1, ?1, ?2)",
        params![DIR_ID, json!({ "path": footage }).to_string()],
    )
    .context("a row of its table `sample_file_dir`")?;
    for (number, (name, url)) in (1_u32..).zip(streams) {
        let mut camera_id = DIR_ID;
        camera_id[12..].copy_from_slice(&number.to_be_bytes());
        rows.execute(
            "insert into camera (id, uuid, short_name, config) values (?1, ?2, ?3, '{}')",
            params![number, camera_id, name],
        )
        .context("a row of its table `camera`")?;
        let config = json!({
            "mode": "record",
            "url": url,
            "rtspTransport": "tcp",
            "retainBytes": RETAIN_BYTES,
            "flushIfSec": FLUSH_IF_S,
        });
        rows.execute(
            "insert into stream (camera_id, sample_file_dir_id, type, config, cum_recordings, \
             cum_media_duration_90k, cum_runs) values (?1, 1, 'main', ?2, 0, 0, 0)",
            params![number, config.to_string()],
        )
        .context("a row of its table `stream`")?;
    }
    rows.commit()?;
    Ok(id)
}

/// The file `meta` of a directory that was never opened: a length, a message of two fields of bytes, zeros.
fn dir_meta(database_id: &[u8; 16], dir_id: &[u8; 16]) -> [u8; DIR_META_BYTES] {
    // Protocol buffers: the tag of field n with a length before its bytes is n << 3 | 2.
    let message = [&[1 << 3 | 2, 16], database_id.as_slice(), &[2 << 3 | 2, 16], dir_id].concat();
    let mut meta = [0; DIR_META_BYTES];
    // Below 128 a length is its own varint.
    meta[0] = u8::try_from(message.len()).expect("36 bytes");
    meta[1..=message.len()].copy_from_slice(&message);
    meta
}

/// Recordings that its log says were flushed.
fn flushed(log: &str) -> u64 {
    log.lines().filter_map(flushed_by).sum()
}

/// Recordings of one line of its log: `...: added 3 recordings (...)` or `...: added 12M B in 3 recordings (...)`.
fn flushed_by(line: &str) -> Option<u64> {
    let (_, added) = line.split_once(": added ")?;
    let (before, _) = added.split_once(" recordings")?;
    before.split_whitespace().last()?.parse().ok()
}

/// Makes sure that it recorded every camera: a peer that gives up on some would look cheap.
fn check(database: &Path, cameras: usize) -> Result<()> {
    let connection = Connection::open(database)?;
    let recorded: i64 = connection
        .query_row("select count(distinct stream_id) from recording", [], |row| row.get(0))
        .context("its table `recording` cannot be read")?;
    ensure!(usize::try_from(recorded)? == cameras, "it recorded {recorded} of {cameras} cameras");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What version 7 demands of the rows that are written here: names, what must not be missing, what must be one
    /// of a kind, what refers to what.
    const DEMANDS: &str = "
        create table version (id integer primary key, unix_time integer not null, notes text);
        create table meta (uuid blob not null check (length(uuid) = 16), config text);
        create table open (id integer primary key);
        create table sample_file_dir (id integer primary key, uuid blob unique not null check (length(uuid) = 16),
            config text, last_complete_open_id integer references open (id));
        create table camera (id integer primary key, uuid blob unique not null check (length(uuid) = 16),
            short_name text not null, config text not null);
        create table stream (id integer primary key, camera_id integer not null references camera (id),
            sample_file_dir_id integer references sample_file_dir (id),
            type text not null check (type in ('main', 'sub', 'ext')), config text not null,
            cum_recordings integer not null check (cum_recordings >= 0),
            cum_media_duration_90k integer not null check (cum_media_duration_90k >= 0),
            cum_runs integer not null check (cum_runs >= 0), unique (camera_id, type));
        create table recording (composite_id integer primary key, stream_id integer not null);
        pragma foreign_keys = on;";

    fn database(version: i64) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(DEMANDS).unwrap();
        connection.execute("insert into version values (?1, 0, 'made')", [version]).unwrap();
        connection.execute("insert into meta (uuid) values (?1)", [[5_u8; 16]]).unwrap();
        connection
    }

    fn streams(count: usize) -> Vec<(String, String)> {
        (1..=count).map(|n| (format!("cam{n}"), format!("rtsp://127.0.0.1:554/cam{n}"))).collect()
    }

    #[test]
    fn the_rows_are_what_the_schema_demands() {
        let mut connection = database(7);
        let id = configure(&mut connection, Path::new("/srv/some where/it's"), &streams(64)).unwrap();
        assert_eq!(id, [5; 16]);
        let of_last = "select s.config, d.config, c.short_name from stream s join camera c on c.id = s.camera_id \
            join sample_file_dir d on d.id = s.sample_file_dir_id where c.id = 64";
        let texts = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
        let [stream, dir, name]: [String; 3] = connection.query_row(of_last, [], texts).unwrap();
        let stream: serde_json::Value = serde_json::from_str(&stream).unwrap();
        assert_eq!(stream["url"], "rtsp://127.0.0.1:554/cam64");
        assert_eq!((stream["mode"].as_str(), stream["flushIfSec"].as_u64()), (Some("record"), Some(120)));
        let dir: serde_json::Value = serde_json::from_str(&dir).unwrap();
        assert_eq!((dir["path"].as_str(), name.as_str()), (Some("/srv/some where/it's"), "cam64"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let wrong = configure(&mut database(8), Path::new("/x"), &streams(1)).unwrap_err();
        assert_eq!(wrong.to_string(), "its schema is version 8; rows are known for 7");
        let mut without = database(7);
        without.execute_batch("alter table stream rename column cum_runs to runs").unwrap();
        let wrong = configure(&mut without, Path::new("/x"), &streams(1)).unwrap_err();
        assert!(format!("{wrong:#}").starts_with("a row of its table `stream`: "), "{wrong:#}");
        let rows: i64 = without.query_row("select count(*) from camera", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "all rows or none");
    }

    #[test]
    fn a_program_that_is_another_is_found_out_before_anything_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("moonfire-nvr");
        for (script, complaint) in [
            ("exit 0", "left no"),
            ("echo unknown option; exit 2", "unknown option"),
            ("mkdir -p \"$3\"; : > \"$3/db\"", "`version`"),
        ] {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let place = tempfile::tempdir().unwrap();
            let peer = Moonfire { program: program.clone() };
            let wrong = peer.prepare(place.path(), &streams(1)).unwrap_err();
            assert!(format!("{wrong:#}").contains(complaint), "{script}: {wrong:#}");
        }
    }

    #[test]
    fn a_directory_is_tied_to_its_database() {
        let meta = dir_meta(&[0xaa; 16], &[0xbb; 16]);
        assert_eq!(meta[..3], [36, 0x0a, 16]);
        assert_eq!(meta[3..19], [0xaa; 16]);
        assert_eq!(meta[19..21], [0x12, 16]);
        assert_eq!(meta[21..37], [0xbb; 16]);
        assert!(meta[37..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn flushes_are_read_out_of_the_log_of_old_and_new_releases() {
        let log = "<5>main Ready to serve HTTP requests\n\
            I 1 main db] Flush 3 (why: 120 sec after start of 1 minute): added 2 recordings (1/0, 2/0), deleted 0 ()\n\
            <5>flusher flusher: flush complete: \n\
            /srv/footage: added 31M B in 16 recordings (1/1), deleted 0B in 0 (), GCed 0 recordings ().\n\
            <5>flusher flusher: flush complete:  no recording changes\n";
        assert_eq!(flushed(log), 18);
    }

    #[test]
    fn the_configuration_names_places_with_spaces() {
        let text = configuration(Path::new("/srv/some where"));
        assert_eq!(text, "dbDir = \"/srv/some where/db\"\n\n[[binds]]\nunix = \"/srv/some where/socket\"\n");
    }
}
