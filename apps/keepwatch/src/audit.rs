//! `keepwatch audit verify`: proves the chain of the audit log, and its end by what the event log was told of it.
//!
//! It reads files and asks no node: who must be checked upon may be the one who runs it.

use keepwatch_model::EventCode;
use keepwatch_store::events_of;
use keepwatch_web::{AuditReport, Head, verify_audit};

use crate::cli::AuditVerifyOptions;
use crate::{Outcome, client, output};

/// Verifies the audit log of a node.
pub(crate) fn verify(options: &AuditVerifyOptions) -> anyhow::Result<Outcome> {
    let data = client::data_of(&options.node)?;
    let told = events_of(&data, EventCode::AuditHead)?;
    let heads: Vec<_> = told.iter().filter_map(|(at, text)| Some((*at, Head::from_text(text)?))).collect();
    let report = verify_audit(&data, &heads)?;
    if options.json {
        output::say(serde_json::to_string(&report)?);
    } else {
        output::say(show(&report, heads.len()));
    }
    Ok(if report.fault.is_some() { Outcome::FaultsFound } else { Outcome::Done })
}

fn show(report: &AuditReport, heads: usize) -> String {
    let AuditReport { entries, until, fault, unfinished_bytes } = report;
    let until = until.map_or_else(String::new, |until| format!(", the last of {until}"));
    let mut text = match fault {
        None => {
            format!("{entries} entries in one chain{until}; {heads} ends of it that the event log told agree")
        }
        Some(fault) => format!("FAULT after {entries} sound entries{until}: {fault}"),
    };
    if *unfinished_bytes > 0 {
        text += &format!(
            "\n{unfinished_bytes} bytes behind them are an entry that is being written, or was at a crash"
        );
    }
    text
}
