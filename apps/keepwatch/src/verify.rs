//! `keepwatch verify`: reads all footage, proves its checksums and the index, or makes the index anew.

use std::path::PathBuf;

use anyhow::{Context, bail};
use keepwatch_store::{DiskConfig, VerifyFault, VerifyReport};
use serde_json::json;

use crate::cli::{NodeOptions, VerifyOptions};
use crate::config::{self, show_bytes};
use crate::{Outcome, lab, memory, output};

/// Faults that are listed for people; JSON has them all.
const FAULTS_SHOWN_MAX: usize = 50;

/// Verifies the store of a node.
pub(crate) fn verify(options: &VerifyOptions) -> anyhow::Result<Outcome> {
    let (data, disks) = store_of(&options.node)?;
    if options.rebuild && lab::listens(&data.join(keepwatch_web::SOCKET_NAME)) {
        bail!("a node is running on {}; stop it before its index is made anew", data.display());
    }
    let mut progress = output::Progress::new();
    let report = keepwatch_store::verify(
        &data,
        &disks,
        keepwatch_store::VerifyOptions { rebuild: options.rebuild },
        &mut |state| {
            let what = format!(
                "{} of {} extents, {}",
                state.extents_done,
                state.extents,
                show_bytes(state.bytes_done)
            );
            progress.show(state.extents_done, state.extents, what);
        },
    )?;
    drop(progress);
    if options.json {
        output::say(in_json(&report));
    } else {
        tell(&report);
    }
    Ok(if report.faults.is_empty() { Outcome::Done } else { Outcome::FaultsFound })
}

/// The data directory and the disks of the node that `options` name.
pub(crate) fn store_of(options: &NodeOptions) -> anyhow::Result<(PathBuf, Vec<DiskConfig>)> {
    let (data, disks) = match options.config_file() {
        Some(file) => {
            let loaded = config::load(&file)?;
            if loaded.report.failed() {
                bail!("the configuration cannot be used:\n{}", loaded.report.show(&file));
            }
            let recorder = loaded.node.recorder;
            let disks =
                recorder.disks.iter().map(keepwatch_recorder::config::DiskConfig::for_store).collect();
            (options.data.clone().unwrap_or(recorder.data), disks)
        }
        None => {
            let data =
                options.data.clone().context("neither a configuration nor a data directory is named")?;
            let disks = memory::disks(&data)?;
            (data, disks)
        }
    };
    if !data.is_dir() {
        bail!("the data directory {} is not there; check --data and --config", data.display());
    }
    Ok((data, disks))
}

fn tell(report: &VerifyReport) {
    let VerifyReport { extents, records, samples, media_bytes, rows, faults, rebuilt } = report;
    output::say(format_args!(
        "{extents} extents, {records} records, {samples} samples and {} were read; {rows} rows of the index were compared",
        show_bytes(*media_bytes)
    ));
    if *rebuilt {
        output::say("the index was made anew");
    }
    for fault in faults.iter().take(FAULTS_SHOWN_MAX) {
        output::say(sentence(fault));
    }
    if faults.len() > FAULTS_SHOWN_MAX {
        output::say(format_args!("and {} more; --json lists all", faults.len() - FAULTS_SHOWN_MAX));
    }
    output::say(if faults.is_empty() {
        "all is well".to_owned()
    } else {
        format!("{} faults; footage that they do not name is intact", faults.len())
    });
}

fn sentence(fault: &VerifyFault) -> String {
    let mut place = fault.disk.display().to_string();
    if let Some(camera) = fault.camera {
        place += &format!(", {camera}");
    }
    if let Some(span) = fault.span {
        place += &format!(", {} to {}", span.from, span.to);
    }
    format!("{place}: {}", fault.text)
}

fn in_json(report: &VerifyReport) -> serde_json::Value {
    let faults: Vec<_> = report
        .faults
        .iter()
        .map(|fault| {
            json!({
                "disk": fault.disk,
                "camera": fault.camera,
                "from": fault.span.map(|span| span.from),
                "to": fault.span.map(|span| span.to),
                "text": fault.text,
            })
        })
        .collect();
    json!({
        "extents": report.extents,
        "records": report.records,
        "samples": report.samples,
        "media_bytes": report.media_bytes,
        "rows": report.rows,
        "rebuilt": report.rebuilt,
        "faults": faults,
    })
}
