//! `keepwatch scan`: who in the network says that it is a camera, and what to write into the configuration for it.
//!
//! It asks and changes nothing. Computers and printers answer, too; they are counted and not printed. What it prints came from strangers: control characters are gone, and texts are quoted.

use std::time::Duration;

use keepwatch_onvif::discovery::{self, Findings, Found, ScanProgress};
use keepwatch_recorder::scan::SuggestedIds;
use serde_json::{Value, json};

use crate::cli::ScanOptions;
use crate::output::Progress;
use crate::{Outcome, output};

/// Searches until the time is over or Ctrl-C, and says who was found.
pub(crate) async fn scan(options: ScanOptions) -> anyhow::Result<Outcome> {
    let time = Duration::from_secs(options.seconds);
    let wanted = keepwatch_recorder::scan::options(options.interfaces, options.ranges, time, options.port);
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without the signal the time ends the search.
            std::future::pending::<()>().await;
        }
    };
    let mut progress = Progress::new();
    let mut found = 0_u64;
    let findings = discovery::scan(&wanted, interrupted, |told| match told {
        ScanProgress::Found(device) => {
            found += 1;
            progress.show(found, u64::MAX, format_args!("{found} found, {} the last", device.address));
        }
        ScanProgress::Asked { done, all } => {
            let (done, all) = (u64::try_from(done).unwrap_or(0), u64::try_from(all).unwrap_or(0));
            progress.show(done, all, format_args!("of the addresses asked, {found} cameras found"));
        }
    });
    let findings = findings.await?;
    drop(progress);
    for (interface, error) in &findings.failed {
        output::complain(format_args!("keepwatch: {interface} was not searched: {error}"));
    }
    for device in findings.unreachable.iter().filter(|_| !options.json) {
        output::complain(format_args!(
            "keepwatch: a camera answered from {}{} and has no address that can be configured; give it one of IPv4, or one of \
             IPv6 that is not its link's alone",
            device.sender,
            device.interface.as_ref().map_or(String::new(), |interface| format!(" by {interface}"))
        ));
    }
    if findings.others > 0 && !options.json {
        let others = findings.others;
        output::complain(format_args!("{others} others answered that are no cameras: computers, printers"));
    }
    if options.json {
        output::say(as_json(&findings));
    } else {
        report(&findings).iter().for_each(output::say);
        if findings.devices.is_empty() {
            output::complain(
                "no camera answered; ask one by its address with --probe, for multicast does not pass routers, \
                 some switches, or into containers, and look whether ONVIF is switched on in the camera",
            );
        }
    }
    Ok(Outcome::Done)
}

/// What was found, for people: each camera with what it takes to record it.
fn report(findings: &Findings) -> Vec<String> {
    let mut ids = SuggestedIds::default();
    let mut lines = Vec::new();
    for device in &findings.devices {
        let name = if device.name.is_empty() { "a camera without a name" } else { &device.name };
        let hardware = if device.hardware.is_empty() { "hardware not told" } else { &device.hardware };
        lines.push(format!(
            "# {name}, {hardware}, {}",
            device.endpoint.chars().filter(|c| !c.is_control()).collect::<String>()
        ));
        lines.extend(snippet(device, &ids.suggest(device)));
        lines.push(String::new());
    }
    lines.pop();
    lines
}

/// The camera as the configuration wants it.
fn snippet(device: &Found, id: &str) -> Vec<String> {
    let mut lines = vec!["[[camera]]".to_owned(), format!("id = \"{id}\"")];
    if !device.name.is_empty() {
        lines.push(format!("name = {}", toml::Value::from(device.name.as_str())));
    }
    lines.push(format!("onvif = {}", toml::Value::from(device.address.as_str())));
    lines.push("user = \"recorder\"".to_owned());
    lines.push(format!("password_file = \"{id}.password\""));
    lines
}

fn as_json(findings: &Findings) -> Value {
    let device = |device: &Found| {
        json!({
            "endpoint": device.endpoint,
            "name": device.name,
            "hardware": device.hardware,
            "location": device.location,
            "address": device.address.as_str(),
            "addresses": device.addresses,
            "profiles": device.profiles,
            "types": device.types,
            "senders": device.senders,
            "interface": device.interface,
        })
    };
    let counts = &findings.counts;
    json!({
        "devices": findings.devices.iter().map(device).collect::<Vec<_>>(),
        "others": findings.others,
        "unreachable": findings.unreachable.iter().map(|device| json!({
            "endpoint": device.endpoint,
            "sender": device.sender,
            "interface": device.interface,
        })).collect::<Vec<_>>(),
        "counts": {
            "datagrams": counts.datagrams,
            "answers": counts.answers,
            "malformed": counts.malformed,
            "unrelated": counts.unrelated,
            "refused": counts.refused,
        },
        "failed": findings.failed.iter().map(|(name, error)| json!({"interface": name, "error": error})).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, hardware: &str) -> Found {
        let address = "http://192.0.2.10/onvif/device_service".parse().unwrap();
        let silent = Found::silent("urn:uuid:1".to_owned(), address);
        Found { name: name.to_owned(), hardware: hardware.to_owned(), ..silent }
    }

    #[test]
    fn what_is_printed_is_a_configuration_whatever_the_camera_is_called() {
        for name in ["Gate", "a \"quoted\" \\ name", "[[disk]]", "'''", ""] {
            let findings =
                Findings { devices: vec![device(name, "x"), device(name, "x")], ..Findings::default() };
            let text = report(&findings).join("\n");
            let read: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
            let cameras = read["camera"].as_array().unwrap();
            assert_eq!((read.len(), cameras.len()), (1, 2));
            assert_ne!(cameras[0]["id"], cameras[1]["id"]);
            assert_eq!(cameras[0].get("name").and_then(|name| name.as_str()).unwrap_or_default(), name);
        }
    }
}
