//! A running recorder, asked the way an operator or a client would.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use keepwatch_model::{Span, WallTime};
use serde_json::Value;

use crate::http::Place;
use crate::{Cameras, Http, Namespace, Program, Site, wait_until};

/// How long a node may take to be reached.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// One stretch of a camera's coverage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageLine {
    /// Which labels.
    pub span: Span,
    /// `held`, `gap`, `expired`, `unscheduled` or `unknown`.
    pub state: String,
    /// Why it is a gap or unknown.
    pub reason: Option<String>,
    /// Who recorded it, where it is held.
    pub origin: Option<String>,
}

/// A running recorder.
#[derive(Debug)]
pub struct Node {
    program: Program,
    http: Http,
}

impl Node {
    /// The administrator's password in all tests.
    pub const PASSWORD: &str = "not a secret in a test";

    /// Writes the configuration of a site: one disk, and the cameras by id and address.
    pub fn configure(site: &Site, listen: &str, cameras: &[(&str, String)]) -> Result<PathBuf> {
        site.make("footage")?;
        let mut text = format!(
            "[node]\nname = \"it\"\ndata = \"data\"\nlisten = \"{listen}\"\n\n\
             [[disk]]\npath = \"footage\"\nsize = \"256 MiB\"\n"
        );
        for (id, url) in cameras {
            text.push_str(&format!("\n[[camera]]\nid = \"{id}\"\nurl = \"{url}\"\n"));
        }
        let path = site.path().join("keepwatch.toml");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Configures a node that records all of `cameras`, and starts it.
    pub fn recording(site: &Site, cameras: &Cameras) -> Result<Self> {
        let listed: Vec<(&str, String)> =
            cameras.ids().iter().map(|id| (id.as_str(), cameras.url(id))).collect();
        Self::configure(site, "127.0.0.1:0", &listed)?;
        Self::start(site)
    }

    /// Starts a node with the configuration that was written, and logs in when it can be reached.
    pub fn start(site: &Site) -> Result<Self> {
        let program = Program::start(Self::command(site), site.path().join("node.log"))?;
        let ready = program.json(START_PATIENCE)?;
        let address = ready["listening"][0].as_str().context("it says no address")?.parse()?;
        let mut http = Http::new(Place::Address(address));
        http.login("admin", Self::PASSWORD)?;
        Ok(Self { program, http })
    }

    /// Starts it in a namespace, where its addresses cannot be reached from here but its socket can.
    pub fn start_in(site: &Site, namespace: &Namespace) -> Result<Self> {
        let command = namespace.command(&Self::command(site));
        let program = Program::start(command, site.path().join("node.log"))?;
        program.json(START_PATIENCE)?;
        Ok(Self { program, http: Http::new(Place::Socket(site.data().join("keepwatch.sock"))) })
    }

    /// The command that starts one.
    pub fn command(site: &Site) -> Command {
        let mut command = site.command(["run", "--ready-line", "--config", "keepwatch.toml"]);
        command.env("KEEPWATCH_ADMIN_PASSWORD", Self::PASSWORD).env("RUST_LOG", "info");
        command
    }

    /// Its process.
    pub const fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// A client that is logged in.
    pub const fn http(&self) -> &Http {
        &self.http
    }

    /// Logs in again, after everybody was logged out.
    pub fn log_in(&mut self) -> Result<()> {
        self.http.login("admin", Self::PASSWORD)
    }

    /// Ends it in order.
    pub fn end(mut self) -> Result<()> {
        let status = self.program.end(Duration::from_secs(20))?;
        ensure!(status.success(), "the node ended with {status}\n{}", self.program.log());
        Ok(())
    }

    /// A camera as the API shows it.
    pub fn camera(&self, id: &str) -> Result<Value> {
        self.http.get(&format!("/api/v1/cameras/{id}"))
    }

    /// The events that were logged, the newest first, as the API shows them.
    pub fn events(&self) -> Result<Vec<Value>> {
        Ok(self.http.get("/api/v1/events")?["items"].as_array().context("no events")?.clone())
    }

    /// End of what a camera has on disk.
    pub fn durable_until(&self, id: &str) -> Result<Option<WallTime>> {
        Ok(self.camera(id)?["durable_until"].as_str().map(str::parse).transpose()?)
    }

    /// Waits until a camera has something on disk, and returns the first label of it.
    pub fn first_label(&self, id: &str) -> Result<WallTime> {
        wait_until(&format!("footage of {id}"), Duration::from_secs(15), || {
            if self.durable_until(id)?.is_none() {
                return Ok(None);
            }
            let lines = self.coverage(id, None)?;
            Ok(lines.into_iter().find(|line| line.state == "held").map(|line| line.span.from))
        })
    }

    /// Waits until a camera has everything up to `label` on disk.
    pub fn wait_durable(&self, id: &str, label: WallTime, limit: Duration) -> Result<()> {
        wait_until(&format!("footage of {id} up to {label}"), limit, || {
            Ok(self.durable_until(id)?.filter(|until| *until >= label).map(drop))
        })
    }

    /// The coverage of a camera; the last 24 hours without a span. Checks that it has no hole and no overlap.
    pub fn coverage(&self, id: &str, span: Option<Span>) -> Result<Vec<CoverageLine>> {
        self.coverage_of(id, "main", span)
    }

    /// The coverage of the stream `main` or `sub`, as [`coverage`](Self::coverage).
    pub fn coverage_of(&self, id: &str, stream: &str, span: Option<Span>) -> Result<Vec<CoverageLine>> {
        let window = span.map_or(String::new(), |span| format!("&from={}&to={}", span.from, span.to));
        let answer = self.http.get(&format!("/api/v1/cameras/{id}/coverage?stream={stream}{window}"))?;
        ensure!(answer["next"].is_null(), "more than one page of coverage");
        let items = answer["items"].as_array().context("no items")?;
        let lines: Vec<CoverageLine> = items.iter().map(line).collect::<Result<_>>()?;
        for pair in lines.windows(2) {
            ensure!(pair[0].span.to == pair[1].span.from, "a hole or an overlap in {pair:?}");
        }
        if let (Some(span), Some(first), Some(last)) = (span, lines.first(), lines.last()) {
            ensure!(first.span.from == span.from && last.span.to == span.to, "it does not cover {span:?}");
        }
        Ok(lines)
    }

    /// Exports the main stream over HTTP into a file of the site.
    pub fn export(&self, site: &Site, id: &str, span: Span, name: &str) -> Result<PathBuf> {
        self.export_stream(site, id, "main", span, name)
    }

    /// Exports the stream `main` or `sub` over HTTP into a file of the site.
    pub fn export_stream(
        &self,
        site: &Site,
        id: &str,
        stream: &str,
        span: Span,
        name: &str,
    ) -> Result<PathBuf> {
        let window = format!("from={}&to={}", span.from, span.to);
        let path = format!("/api/v1/cameras/{id}/export.mp4?stream={stream}&{window}");
        let answer = self.http.request("GET", &path, None)?;
        ensure!(answer.status == 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        ensure!(answer.header("content-type") == Some("video/mp4"), "{:?}", answer.headers);
        let file = site.path().join(name);
        std::fs::write(&file, answer.body)?;
        Ok(file)
    }
}

fn line(item: &Value) -> Result<CoverageLine> {
    let label = |key: &str| -> Result<WallTime> {
        Ok(item[key].as_str().with_context(|| format!("no {key} in {item}"))?.parse()?)
    };
    Ok(CoverageLine {
        origin: item["origin"].as_str().map(str::to_owned),
        span: Span::new(label("from")?, label("to")?).with_context(|| format!("an empty stretch: {item}"))?,
        state: item["state"].as_str().context("no state")?.to_owned(),
        reason: item["reason"].as_str().map(str::to_owned),
    })
}
