//! `keepwatch failover`: the recorders that a running node watches, and its commands, over its Unix socket.

use std::path::Path;

use anyhow::{Context as _, bail};
use keepwatch_model::WallTime;
use keepwatch_web::{SOCKET_NAME, SocketClient};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::{
    FailoverBackupsOptions, FailoverCommand, FailoverPrimaryOptions, FailoverRegisterOptions,
    FailoverReplaceOptions, FailoverSetOptions, FailoverStatusOptions, Login, NodeOptions,
};
use crate::client::{data_of, printable, seconds, table};
use crate::{Outcome, config, output};

/// Largest file of a password or a token.
const SECRET_BYTES_MAX: usize = 4096;
/// The route of all.
const ROOT: &str = "/api/v1/failover";

#[derive(Debug, Deserialize)]
struct Lists {
    takes_over_after_ms: u64,
    coordinator: Option<Coordinator>,
    monitoring: Vec<Primary>,
    failovers: Vec<Running>,
}

#[derive(Debug, Deserialize)]
struct Coordinator {
    name: String,
    problem: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Primary {
    role: String,
    name: String,
    address: String,
    mac: Option<String>,
    mode: String,
    state: String,
    since: Option<WallTime>,
    detail: Option<String>,
    version: String,
    version_differs: bool,
    waits: bool,
    left_to_other: bool,
    cameras: u64,
    missing: Vec<String>,
    last_backup: Option<Backup>,
    backup_problem: Option<String>,
    drilling: bool,
    tested: Option<Drill>,
}

#[derive(Debug, Deserialize)]
struct Drill {
    at: WallTime,
    failed: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Backup {
    number: u64,
    taken: WallTime,
    checked: WallTime,
    cameras: u64,
}

#[derive(Debug, Deserialize)]
struct Changes {
    number: u64,
    since: u64,
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<CameraChange>,
    settings: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct CameraChange {
    camera: String,
    settings: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Running {
    name: String,
    since: WallTime,
    cause: String,
    claim: String,
    normal: bool,
    returning: bool,
    cameras: u64,
    recorded: u64,
    lacks: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Registered {
    address: String,
    registered: bool,
    name: Option<String>,
    detail: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Replaced {
    epoch: u64,
    cameras: usize,
    left: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Report {
    number: u64,
    name: String,
    decided: WallTime,
    ended: Option<WallTime>,
    cause: String,
    why: Option<String>,
    cameras: Vec<ReportCamera>,
}

#[derive(Debug, Deserialize)]
struct ReportCamera {
    recorded_from: Option<WallTime>,
    gap_ms: Option<u64>,
    missed_ms: Option<u64>,
    left_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

/// Does what `command` asks for.
pub(crate) async fn run(command: FailoverCommand) -> anyhow::Result<Outcome> {
    match command {
        FailoverCommand::Status(options) => status(options).await,
        FailoverCommand::Replace(options) => replace(options).await,
        FailoverCommand::Register(options) => register(options).await,
        FailoverCommand::Set(options) => set(options).await,
        FailoverCommand::Start(options) => order(options, "failover", "its cameras are recorded here").await,
        FailoverCommand::Stop(options) => {
            order(options, "stop", "its failover ended, and its mode is manual").await
        }
        FailoverCommand::Failback(options) => {
            order(options, "failback", "it is recorded here until its own footage overlaps").await
        }
        FailoverCommand::Drill(options) => order(options, "drill", "its cameras are tried").await,
        FailoverCommand::Deregister(options) => {
            let (client, primary) = find(&options).await?;
            client.delete::<()>(&format!("{ROOT}/primaries/{}", primary.role)).await?;
            output::say(format_args!("{} is watched no more", printable(&primary.name)));
            Ok(Outcome::Done)
        }
        FailoverCommand::Backups(options) => backups(options).await,
        FailoverCommand::Reports(options) => reports(options).await,
    }
}

fn client(node: &NodeOptions) -> anyhow::Result<SocketClient> {
    Ok(SocketClient::new(data_of(node)?.join(SOCKET_NAME)))
}

async fn lists(client: &SocketClient) -> anyhow::Result<(Value, Lists)> {
    let all: Value = client.get(ROOT).await?;
    let lists = serde_json::from_value(all.clone()).context("the node is of another version")?;
    Ok((all, lists))
}

/// The primary that is meant: by its role, or by its name if only one has it.
async fn find(options: &FailoverPrimaryOptions) -> anyhow::Result<(SocketClient, Primary)> {
    let client = client(&options.node)?;
    let (_, lists) = lists(&client).await?;
    let meant = |primary: &Primary| primary.role == options.primary || primary.name == options.primary;
    let mut found: Vec<Primary> = lists.monitoring.into_iter().filter(meant).collect();
    match (found.pop(), found.is_empty()) {
        (Some(primary), true) => Ok((client, primary)),
        (Some(_), false) => bail!("several primaries are called {:?}; name it by its role", options.primary),
        (None, _) => {
            bail!("no primary {:?} is watched; keepwatch failover status lists them", options.primary)
        }
    }
}

async fn status(options: FailoverStatusOptions) -> anyhow::Result<Outcome> {
    let (all, lists) = lists(&client(&options.node)?).await?;
    if options.json {
        output::say(all);
    } else {
        show(&lists).into_iter().for_each(output::say);
    }
    let well = |primary: &Primary| {
        primary.state == "normal" && primary.missing.is_empty() && !primary.version_differs
    };
    Ok(if lists.monitoring.iter().all(well) { Outcome::Done } else { Outcome::FaultsFound })
}

/// Both lists for people.
fn show(lists: &Lists) -> Vec<String> {
    let took = lists.takes_over_after_ms;
    let mut lines = vec![format!("takes over after at most {}.{} s", took / 1000, took % 1000 / 100)];
    if let Some(Coordinator { name, problem }) = &lists.coordinator {
        let problem = problem.as_ref().map(|problem| format!(": {}", printable(problem)));
        lines.push(format!(
            "which standby covers is decided by {}{}",
            printable(name),
            problem.unwrap_or_default()
        ));
    }
    lines.push(String::new());
    let head = ["MODE", "NAME", "MAC", "ADDRESS", "STATE", "CAMERAS", "LAST BACKUP", "NOTES"];
    let mut rows = vec![head.map(str::to_owned)];
    for primary in &lists.monitoring {
        let backup = primary.last_backup.as_ref().map(|backup| backup.checked);
        let mut state = primary.state.clone();
        if let Some(since) = primary.since {
            state += &format!(" since {}", seconds(Some(since)));
        }
        let cameras = match primary.missing.len() {
            0 => primary.cameras.to_string(),
            missing => format!("{}, {missing} not recorded", primary.cameras),
        };
        rows.push([
            primary.mode.clone(),
            printable(&primary.name),
            primary.mac.clone().unwrap_or_else(|| "-".to_owned()),
            primary.address.clone(),
            state,
            cameras,
            seconds(backup),
            notes(primary),
        ]);
    }
    lines.extend(table(&rows));
    lines.push(String::new());
    let head = ["FAILOVER OF", "SINCE", "STARTED BY", "CLAIM", "CAMERAS", "ON DISK", "STATE"];
    let mut rows = vec![head.map(str::to_owned)];
    for failover in &lists.failovers {
        let state = match (failover.returning, failover.normal) {
            (true, _) => "failing back",
            (false, true) => "normal: failback is possible",
            (false, false) => "running",
        };
        // While it begins, all are missing for a moment.
        let lacks = match failover.lacks.is_empty() || failover.claim == "asked" {
            true => String::new(),
            false => format!("; not recorded here: {}", printable(&failover.lacks.join(", "))),
        };
        rows.push([
            printable(&failover.name),
            seconds(Some(failover.since)),
            failover.cause.clone(),
            failover.claim.clone(),
            failover.cameras.to_string(),
            failover.recorded.to_string(),
            format!("{state}{lacks}"),
        ]);
    }
    lines.extend(table(&rows));
    lines
}

fn notes(primary: &Primary) -> String {
    let mut notes = Vec::new();
    notes.extend(primary.waits.then(|| "a failover is due and there is no room".to_owned()));
    notes.extend(primary.left_to_other.then(|| "another standby covers it".to_owned()));
    notes.extend(primary.version_differs.then(|| format!("version {}", printable(&primary.version))));
    let tested = match (&primary.tested, primary.drilling) {
        (_, true) => "a drill runs".to_owned(),
        (None, false) => "never tested".to_owned(),
        (Some(drill), false) if drill.failed.is_empty() => format!("tested {}", seconds(Some(drill.at))),
        (Some(drill), false) => {
            format!("tested {}, failed: {}", seconds(Some(drill.at)), printable(&drill.failed.join(", ")))
        }
    };
    notes.push(tested);
    notes.extend(primary.detail.as_deref().map(printable));
    notes.extend(primary.backup_problem.as_deref().map(printable));
    notes.join("; ")
}

/// What lets this node in, as it is asked for.
pub(crate) fn login(login: &Login) -> anyhow::Result<Value> {
    let read = |file: &Path| -> anyhow::Result<String> {
        let text = config::read_text(file)?;
        let line = text.trim_end_matches(['\r', '\n']);
        if line.is_empty() || line.len() > SECRET_BYTES_MAX || line.contains('\n') {
            bail!("{}: write the password or the token on one line", file.display());
        }
        Ok(line.to_owned())
    };
    let password = login.password_file.as_deref().map(read).transpose()?;
    let token = login.token_file.as_deref().map(read).transpose()?;
    Ok(json!({"user": login.user, "password": password, "token": token, "key": login.key}))
}

async fn replace(options: FailoverReplaceOptions) -> anyhow::Result<Outcome> {
    let mut asked = login(&options.login)?;
    asked["address"] = json!(options.address);
    asked["backup"] = json!(options.backup);
    let (client, primary) = find(&options.primary).await?;
    let path = format!("{ROOT}/primaries/{}/replace", primary.role);
    let Replaced { epoch, cameras, left } = client.post(&path, &asked).await?;
    let (name, address) = (printable(&primary.name), printable(&options.address));
    output::say(format_args!("{name}: {address} plays its role in epoch {epoch}, with {cameras} cameras"));
    left.iter().for_each(|sentence| output::complain(printable(sentence)));
    Ok(if left.is_empty() { Outcome::Done } else { Outcome::FaultsFound })
}

async fn register(options: FailoverRegisterOptions) -> anyhow::Result<Outcome> {
    let client = client(&options.node)?;
    let login = login(&options.login)?;
    let item = |address: &String| {
        let mut item = login.clone();
        item["address"] = json!(address);
        item["beside"] = json!(options.beside);
        item
    };
    let items: Vec<Value> = options.addresses.iter().map(item).collect();
    let answer: Items<Registered> =
        client.post(&format!("{ROOT}/primaries"), &json!({"items": items})).await?;
    let mut outcome = Outcome::Done;
    for Registered { address, registered, name, detail } in answer.items {
        if registered {
            let name = name.unwrap_or_default();
            output::say(format_args!("{}: {} is watched", printable(&address), printable(&name)));
        } else {
            let detail = detail.unwrap_or_default();
            output::complain(format_args!("{}: not registered: {}", printable(&address), printable(&detail)));
            outcome = Outcome::FaultsFound;
        }
    }
    Ok(outcome)
}

async fn set(options: FailoverSetOptions) -> anyhow::Result<Outcome> {
    let (client, primary) = find(&options.primary).await?;
    let change = json!({"mode": options.mode, "priority": options.priority, "prebuffer": options.prebuffer});
    client.put::<()>(&format!("{ROOT}/primaries/{}", primary.role), &change).await?;
    output::say(format_args!("{}: changed", printable(&primary.name)));
    Ok(Outcome::Done)
}

async fn order(
    options: FailoverPrimaryOptions,
    what: &'static str,
    done: &'static str,
) -> anyhow::Result<Outcome> {
    let (client, primary) = find(&options).await?;
    client.post::<()>(&format!("{ROOT}/primaries/{}/{what}", primary.role), &json!(null)).await?;
    output::say(format_args!("{}: {done}", printable(&primary.name)));
    Ok(Outcome::Done)
}

async fn backups(options: FailoverBackupsOptions) -> anyhow::Result<Outcome> {
    let (client, primary) = find(&options.primary).await?;
    if let Some([earlier, later]) = options.compare.as_deref() {
        let path = format!("{ROOT}/primaries/{}/backups/{later}/changes?since={earlier}", primary.role);
        let changes: Changes = client.get(&path).await?;
        differences(&changes).into_iter().for_each(output::say);
        return Ok(Outcome::Done);
    }
    let backups: Items<Backup> = client.get(&format!("{ROOT}/primaries/{}/backups", primary.role)).await?;
    let mut rows = vec![["BACKUP", "TAKEN", "STILL SO", "CAMERAS"].map(str::to_owned)];
    for Backup { number, taken, checked, cameras } in backups.items {
        rows.push([number.to_string(), seconds(Some(taken)), seconds(Some(checked)), cameras.to_string()]);
    }
    table(&rows).into_iter().for_each(output::say);
    Ok(Outcome::Done)
}

/// What differs between two backups, for people.
fn differences(changes: &Changes) -> Vec<String> {
    let Changes { number, since, added, removed, changed, settings } = changes;
    let mut lines = Vec::new();
    lines.extend(added.iter().map(|camera| format!("+ camera {}", printable(camera))));
    lines.extend(removed.iter().map(|camera| format!("- camera {}", printable(camera))));
    lines.extend(changed.iter().map(|change| {
        format!("~ camera {}: {}", printable(&change.camera), printable(&change.settings.join(", ")))
    }));
    lines.extend(settings.iter().map(|name| format!("~ {}", printable(name))));
    if lines.is_empty() {
        lines.push(format!("backups {since} and {number} would restore the same"));
    }
    lines
}

async fn reports(options: FailoverStatusOptions) -> anyhow::Result<Outcome> {
    let all: Value = client(&options.node)?.get(&format!("{ROOT}/reports")).await?;
    if options.json {
        output::say(all);
        return Ok(Outcome::Done);
    }
    let reports: Items<Report> = serde_json::from_value(all).context("the node is of another version")?;
    let head = [
        "REPORT",
        "FAILOVER OF",
        "DECIDED",
        "BY",
        "ENDED",
        "CAMERAS",
        "ON DISK",
        "LARGEST GAP",
        "MISSED",
        "STILL",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for report in reports.items {
        let recorded = report.cameras.iter().filter(|camera| camera.recorded_from.is_some()).count();
        let gap = report.cameras.iter().filter_map(|camera| camera.gap_ms).max();
        // What the primary had not recorded of all its cameras, and what it still lacks.
        let sum = |of: fn(&ReportCamera) -> Option<u64>| {
            report.cameras.iter().filter_map(of).reduce(u64::saturating_add)
        };
        let (missed, left) = (sum(|camera| camera.missed_ms), sum(|camera| camera.left_ms));
        let ended = match (report.ended, report.why) {
            (Some(at), Some(why)) => format!("{} ({})", seconds(Some(at)), printable(&why)),
            (at, _) => seconds(at),
        };
        rows.push([
            report.number.to_string(),
            printable(&report.name),
            seconds(Some(report.decided)),
            printable(&report.cause),
            ended,
            report.cameras.len().to_string(),
            recorded.to_string(),
            gap.map_or_else(|| "-".to_owned(), |gap| format!("{gap} ms")),
            missed.map_or_else(|| "-".to_owned(), |missed| format!("{missed} ms")),
            left.map_or_else(|| "-".to_owned(), |left| format!("{left} ms")),
        ]);
    }
    table(&rows).into_iter().for_each(output::say);
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_backups_is_a_line_each() {
        let changes: Changes = serde_json::from_value(json!({
            "number": 4, "since": 3, "added": ["yard"], "removed": ["shop"],
            "changed": [{"camera": "gate", "settings": ["url", "password"]}], "settings": ["users\u{1b}[2J"],
        }))
        .unwrap();
        let shown = differences(&changes);
        assert_eq!(shown[..3], ["+ camera yard", "- camera shop", "~ camera gate: url, password"]);
        assert!(shown[3].starts_with("~ users") && !shown[3].contains('\u{1b}'), "{shown:?}");
        let same = Changes { added: vec![], removed: vec![], changed: vec![], settings: vec![], ..changes };
        assert_eq!(differences(&same), ["backups 3 and 4 would restore the same"]);
    }

    #[test]
    fn both_lists_are_tables() {
        let lists: Lists = serde_json::from_value(json!({
            "takes_over_after_ms": 4000,
            "monitoring": [
                {"role": "r1", "name": "north", "address": "192.0.2.7:8443", "mac": "02:00:00:00:00:01", "mode": "auto",
                 "state": "failed", "since": "2026-11-22T12:00:00Z", "detail": "it cannot be reached\u{1b}[2J", "version": "0.1.0",
                 "version_differs": false, "waits": false, "left_to_other": false, "cameras": 4, "missing": [],
                 "last_backup": {"number": 1, "taken": "2026-11-22T11:00:00Z", "checked": "2026-11-22T11:50:00Z", "cameras": 4},
                 "backup_problem": null, "drilling": false, "tested": {"at": "2026-11-21T09:00:00Z", "cameras": 4, "failed": ["yard"]}},
                {"role": "r2", "name": "south", "address": "192.0.2.8:8443", "mac": null, "mode": "manual", "state": "normal",
                 "since": null, "detail": null, "version": "0.2.0", "version_differs": true, "waits": true,
                 "left_to_other": false, "cameras": 2, "missing": ["gate"], "last_backup": null, "backup_problem": null,
                 "drilling": false, "tested": null},
            ],
            "failovers": [{"name": "north", "since": "2026-11-22T12:00:01Z", "cause": "threshold", "claim": "held", "normal": false,
                "returning": false, "cameras": 4, "recorded": 3, "lacks": ["yard"]}],
        }))
        .unwrap();
        let expected = "\
takes over after at most 4.0 s

MODE    NAME   MAC                ADDRESS         STATE                              CAMERAS          LAST BACKUP           NOTES
auto    north  02:00:00:00:00:01  192.0.2.7:8443  failed since 2026-11-22T12:00:00Z  4                2026-11-22T11:50:00Z  tested 2026-11-21T09:00:00Z, failed: yard; it cannot be reached [2J
manual  south  -                  192.0.2.8:8443  normal                             2, 1 not recorded  -                     a failover is due and there is no room; version 0.2.0; never tested

FAILOVER OF  SINCE                 STARTED BY  CLAIM  CAMERAS  ON DISK  STATE
north        2026-11-22T12:00:01Z  threshold   held   4        3        running; not recorded here: yard";
        let shown = show(&lists).join("\n");
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&shown), squeezed(expected));
    }
}
