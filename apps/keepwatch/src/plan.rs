//! `keepwatch plan`: what a site needs, and the configuration of its lines, for switches and for Linux.
//!
//! Of a site (`[[recorder]]`, `[standby]`, `[[poe_switch]]`) it computes lines, switching capacity, disks and memory, and prints what
//! bundles the lines. Of a node's own configuration it prints the files that make its interfaces. It looks at no machine and changes
//! nothing.

mod networkd;
mod show;
mod site;
mod switch;

use std::path::Path;

use keepwatch_recording::plan::Plan;

use crate::cli::{PlanOptions, PlanPart};
use crate::config::{self, Report};
use crate::{Outcome, output};

/// Plans what the file describes: a site, or a node.
pub(crate) fn plan(options: &PlanOptions) -> Outcome {
    let path = &options.file;
    let text = match config::read_text(path) {
        Ok(text) => text,
        Err(error) => {
            output::complain(error);
            return Outcome::ConfigurationWrong;
        }
    };
    let (said, report) = if site::describes_a_site(&text) {
        let (site, report) = site::read(&text);
        (of_site(&site, options.only), report)
    } else {
        let (file, mut report) = config::read(&text, path.parent().unwrap_or(Path::new("")));
        if file.node.interfaces.is_empty() && !report.failed() {
            nothing_to_plan(&mut report);
        }
        (networkd::of_node(&file.node.interfaces), report)
    };
    if !report.is_empty() {
        output::complain(report.show(path));
    }
    if report.failed() {
        return Outcome::ConfigurationWrong;
    }
    output::say(said.trim_end());
    Outcome::Done
}

/// Plans the site that `text` describes, and returns what is wrong with it; `None` when it describes none.
pub(crate) fn of_untrusted_site(text: &str) -> Option<Report> {
    site::describes_a_site(text).then(|| {
        let (site, report) = site::read(text);
        of_site(&site, None);
        report
    })
}

fn nothing_to_plan(report: &mut Report) {
    report.error_of_file(
        "it describes neither a site nor the interfaces of a node",
        "add [[recorder]] and what else a site has, or [node.vin] to the configuration of a node",
    );
}

fn of_site(site: &site::SiteFile, only: Option<PlanPart>) -> String {
    let plan = Plan::of(&site.site);
    let parts = [
        (PlanPart::Needs, show::needs(site, &plan)),
        (PlanPart::V2624g, switch::v2624g(&switch::bundles(site, &plan))),
        (PlanPart::Lacp, switch::generic(&switch::bundles(site, &plan))),
        (PlanPart::Networkd, networkd::of_site(site, &plan)),
    ];
    let wanted = parts.into_iter().filter(|(part, _)| only.is_none_or(|only| only == *part));
    wanted.map(|(_, text)| text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
