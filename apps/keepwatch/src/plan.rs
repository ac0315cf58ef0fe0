//! `keepwatch plan`: what a site needs, and the configuration of its lines, for switches and for Linux.
//!
//! Of a site (`[[recorder]]`, `[standby]`, `[[poe_switch]]`) it computes lines, switching capacity, disks and memory, and prints what
//! bundles the lines. Of a node's own configuration it prints the files that make its interfaces, and of an edge node how long what
//! lasts, for which it asks the node, where one runs, what it measured. It changes nothing.

mod edge;
mod networkd;
mod show;
mod site;
mod switch;

use std::path::Path;

use keepwatch_recording::edge::plan::EdgePlan;
use keepwatch_recording::plan::Plan;

use crate::cli::{PlanOptions, PlanPart};
use crate::config::{self, ConfigFile, Report};
use crate::{Outcome, output};

/// Plans what the file describes: a site, or a node; or an edge node of options alone.
pub(crate) async fn plan(options: PlanOptions) -> anyhow::Result<Outcome> {
    let Some(path) = &options.file else {
        output::say(of_edge(&options, None).await.trim_end());
        return Ok(Outcome::Done);
    };
    let text = match config::read_text(path) {
        Ok(text) => text,
        Err(error) => {
            output::complain(error);
            return Ok(Outcome::ConfigurationWrong);
        }
    };
    let (said, report) = if site::describes_a_site(&text) {
        let (site, mut report) = site::read(&text);
        if options.edge.any() {
            report.error_of_file("it describes a site", "name the configuration of an edge node, or none");
        }
        (of_site(&site, options.only), report)
    } else {
        let (file, mut report) = config::read(&text, path.parent().unwrap_or(Path::new("")));
        let is_edge = options.edge.any() || config::read_tree(&text, |_, root| root.has("edge")).0;
        if file.node.interfaces.is_empty() && !is_edge && !report.failed() {
            nothing_to_plan(&mut report);
        }
        let interfaces = networkd::of_node(&file.node.interfaces);
        let said = match (is_edge && !report.failed(), file.node.interfaces.is_empty() || options.edge.json) {
            (false, _) => interfaces,
            (true, true) => of_edge(&options, Some(&file)).await,
            (true, false) => format!("{}\n{interfaces}", of_edge(&options, Some(&file)).await),
        };
        (said, report)
    };
    if !report.is_empty() {
        output::complain(report.show(path));
    }
    if report.failed() {
        return Ok(Outcome::ConfigurationWrong);
    }
    output::say(said.trim_end());
    Ok(Outcome::Done)
}

async fn of_edge(options: &PlanOptions, file: Option<&ConfigFile>) -> String {
    // Cameras that are only thought of are not asked for.
    let measured = match file.filter(|_| options.edge.cameras.is_none()) {
        Some(file) => edge::measured(file.node.data.get_ref()).await,
        None => edge::Measured::default(),
    };
    let site = edge::site(&options.edge, file, &measured);
    let plan = EdgePlan::of(&site);
    if options.edge.json { edge::json(&site, &plan).to_string() } else { edge::show(&site, &plan, &measured) }
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
        "it describes neither a site nor the interfaces of a node nor an edge node",
        "add [[recorder]] and what else a site has, or [node.vin] or [edge] to the configuration of a node",
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
