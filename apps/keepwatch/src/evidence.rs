//! `keepwatch export verify`: whether an archive that a node exported is as it was signed.

use keepwatch_recorder::evidence::{Verified, verify};
use serde_json::json;

use crate::cli::ExportVerifyOptions;
use crate::config::show_bytes;
use crate::{Outcome, output};

/// Verifies an archive.
pub(crate) fn run(options: &ExportVerifyOptions) -> anyhow::Result<Outcome> {
    let mut progress = output::Progress::new();
    let verified = verify(&options.file, options.key, |done, all| progress.show(done, all, show_bytes(done)));
    drop(progress);
    let verified = verified.map_err(|error| anyhow::anyhow!("{}: {error}", options.file.display()))?;
    if options.json {
        let faults: Vec<String> = verified.faults.iter().map(ToString::to_string).collect();
        output::say(
            json!({"manifest": verified.manifest, "key": verified.key.to_string(), "faults": faults}),
        );
    } else {
        for line in report(&verified, options.key.is_some()) {
            output::say(line);
        }
    }
    Ok(if verified.faults.is_empty() { Outcome::Done } else { Outcome::FaultsFound })
}

/// What was found, for people.
fn report(verified: &Verified, key_told: bool) -> Vec<String> {
    let Verified { manifest, key, faults } = verified;
    let plain = |text: &str| text.chars().filter(|letter| !letter.is_control()).collect::<String>();
    let cameras: Vec<&str> = manifest.cameras.iter().map(|camera| camera.id.as_str()).collect();
    let mut lines = vec![
        format!(
            "{} to {}, {} stream of {}",
            manifest.from,
            manifest.to,
            plain(&manifest.stream),
            cameras.join(", ")
        ),
        format!("exported by {} for {} on {}", plain(&manifest.node), plain(&manifest.by), manifest.created),
        format!("signed by the key {key}"),
    ];
    lines.extend(faults.iter().map(|fault| format!("FAULT: {fault}")));
    lines.push(match (faults.is_empty(), key_told) {
        (true, true) => format!("all {} files are as they were signed, by the key that was expected", manifest.files.len()),
        (true, false) => format!(
            "all {} files are as they were signed; compare the key with the one that the node shows (keepwatch status), or name it by --key",
            manifest.files.len()
        ),
        (false, _) => "this is not what was exported; nothing in it is proved".to_owned(),
    });
    lines
}
