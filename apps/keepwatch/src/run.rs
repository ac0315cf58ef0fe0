//! `keepwatch run`: a node from its start to its orderly end, and the reload in between.
//!
//! Recording starts first and does not depend on the HTTP server: an address that is taken is tried again while the
//! cameras are being recorded. SIGHUP reloads, SIGTERM and SIGINT end, a second one at once.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use keepwatch_announce::{Announcement, Service};
use keepwatch_edge::{EdgeConfig, Relay};
use keepwatch_model::{EventCode, Subject};
use keepwatch_recorder::{Applied, Node, ReplenishSettings};
use keepwatch_standby::Standby;
use keepwatch_tls::peer;
use keepwatch_web::{Application, Audit, Web, WebConfig, serve};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::cli::RunOptions;
use crate::config::{self, Loaded, NodeConfig};
use crate::lines::watch::LineWatch;
use crate::users::{self, Opened};
use crate::{Outcome, memory, output};

/// Time between two tries to listen on an address that is taken.
const LISTEN_INTERVAL: Duration = Duration::from_secs(5);

/// Runs the node that `options` name until it is told to end.
pub(crate) async fn run(options: RunOptions) -> anyhow::Result<Outcome> {
    let file = &options.config;
    let Some(config) = load(file) else { return Ok(Outcome::ConfigurationWrong) };
    // Listened for from the start: a signal that comes early must not be lost.
    let mut signals = Signals::listen()?;
    let node = Node::start(config.recorder.clone()).await.context("the recorder cannot start")?;
    node.replenishing().set(config.replenish);
    node.replenishing().set_card_limits(config.card_limits.clone());
    let lines = LineWatch::start(node.clone(), config.interfaces.clone());
    let standby = start_standby(&node, &config, &lines).await;
    let relay = start_relay(&node, &config).await;
    let opened = match users::open(&node, standby.as_ref(), relay.as_ref(), &config.recorder.data) {
        Ok(opened) => serve_socket(&config.recorder.data, &opened.application).await.map(|web| (opened, web)),
        Err(error) => Err(error),
    };
    let (Opened { application, audit, code }, socket) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            stop(standby, relay, node).await;
            return Err(error);
        }
    };
    let _audited = users::tell_of_audit(&node, &audit);
    if let Err(error) = memory::keep(&config.recorder) {
        warn!(%error, "the disks could not be noted in the data directory; verify needs --config");
    }
    let mut web = None;
    let mut announced = None;
    let mut running = config;
    loop {
        tokio::select! {
            listening = listen(&node, &application, &running.listen), if web.is_none() => {
                if let (Some(code), Some(fingerprint)) = (&code, node.fingerprint()) {
                    output::complain(users::invitation(code, listening.addresses(), fingerprint));
                }
                if let (Some(standby), Some(address)) = (&standby, listening.addresses().first()) {
                    standby.answers_at(address.port());
                }
                // Whoever reads it asks at once: all must be there.
                if options.ready_line {
                    let addresses = listening.addresses();
                    output::say(json!({"listening": addresses, "data": running.recorder.data}));
                }
                announced = announce(&node, listening.addresses()).await;
                web = Some(listening);
            }
            wish = signals.next() => match wish {
                Wish::Reload => {
                    running = tokio::select! {
                        now = reload(&node, (standby.as_ref(), relay.as_ref()), file, running) => now,
                        // A change that has begun is brought to its end, which ending the node waits for.
                        () = signals.end() => break,
                    };
                    lines.look_at(running.interfaces.clone());
                }
                Wish::End => break,
            }
        }
    }
    drop(lines);
    info!("ending; a second signal ends at once");
    if let Some(announced) = announced {
        announced.end().await;
    }
    tokio::select! {
        () = end(web, socket, (standby, relay), node, &audit) => {}
        () = signals.end() => warn!("ended at once; what was not yet on disk is lost"),
    }
    Ok(Outcome::Done)
}

/// Starts the standby beside the recorder. What it keeps may be damaged; the cameras are recorded all the same.
async fn start_standby(node: &Node, config: &NodeConfig, lines: &LineWatch) -> Option<Standby> {
    match Standby::start(node.clone(), config.standby.clone(), lines.camera_rate()).await {
        Ok(standby) => Some(standby),
        Err(why) => {
            let text = format!("no other recorder is watched: {why}");
            error!("{text}");
            node.add_event(EventCode::StandbyUnusable, Subject::Node, text);
            None
        }
    }
}

/// Starts the edge role beside the recorder; the cameras are recorded without it.
async fn start_relay(node: &Node, config: &NodeConfig) -> Option<Relay> {
    match Relay::start(node.clone(), config.edge.clone()).await {
        Ok(relay) => Some(relay),
        Err(why) => {
            let text = format!("nothing is sent to a recorder: {why}");
            error!("{text}");
            node.add_event(EventCode::EdgeUnusable, Subject::Node, text);
            None
        }
    }
}

/// The standby first: what it records for others is ended by the recorder, and goes on after the next start.
async fn stop(standby: Option<Standby>, relay: Option<Relay>, node: Node) {
    if let Some(standby) = standby {
        standby.stop().await;
    }
    if let Some(relay) = relay {
        relay.stop().await;
    }
    node.stop().await;
}

async fn end(
    web: Option<Web>,
    socket: Web,
    (standby, relay): (Option<Standby>, Option<Relay>),
    node: Node,
    audit: &Audit,
) {
    // Both at once: each gives running requests the same few seconds.
    let network = async {
        if let Some(web) = web {
            web.shutdown().await;
        }
    };
    tokio::join!(network, socket.shutdown());
    audit.flush().await;
    stop(standby, relay, node).await;
}

/// Loads the configuration; `None` when it cannot be used and that was said.
fn load(file: &Path) -> Option<NodeConfig> {
    let Loaded { node, report, .. } = match config::load(file) {
        Ok(loaded) => loaded,
        Err(error) => {
            output::complain(error);
            return None;
        }
    };
    if !report.is_empty() {
        output::complain(report.show(file));
    }
    (!report.failed()).then_some(node)
}

/// Serves the Unix socket of the command line.
async fn serve_socket(data: &Path, application: &Application) -> anyhow::Result<Web> {
    let socket = WebConfig { socket: Some(data.join(keepwatch_web::SOCKET_NAME)), ..WebConfig::default() };
    Ok(serve(socket, application).await?)
}

/// Listens on the network, however long it takes: recording does not wait for it.
async fn listen(node: &Node, application: &Application, addresses: &[SocketAddr]) -> Web {
    let mut told = false;
    loop {
        match try_listen(node, application, addresses).await {
            Ok(web) => return web,
            Err(why) => {
                if !told {
                    error!("{why}; the cameras are recorded, and it is tried again every 5 s");
                    told = true;
                }
                tokio::time::sleep(LISTEN_INTERVAL).await;
            }
        }
    }
}

/// Opens the certificate and listens; else says in a sentence why it could not.
async fn try_listen(node: &Node, application: &Application, addresses: &[SocketAddr]) -> Result<Web, String> {
    let identity = node.identity().await;
    let identity =
        identity.map_err(|error| format!("the HTTP server has no certificate to show: {error}"))?;
    // People are served also when other nodes cannot be.
    let key = node.node_key().await.and_then(|key| peer::server_config(&key));
    let nodes = key.map_err(|error| error!(%error, "other nodes are not answered")).ok();
    let config =
        WebConfig { listen: addresses.to_vec(), tls: Some(identity.config()), nodes, ..WebConfig::default() };
    let web = serve(config, application).await.map_err(|failure| {
        let cause = std::error::Error::source(&failure).map(ToString::to_string).unwrap_or_default();
        format!("{failure}: {cause}")
    })?;
    info!(certificate = %identity.fingerprint(), "HTTPS is served");
    Ok(web)
}

/// Announces the node where others can reach it; one that listens on loopback alone is nobody's to find.
async fn announce(node: &Node, addresses: &[SocketAddr]) -> Option<Announcement> {
    let port = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback())?.port();
    // Where it has no key no node is answered.
    let key = node.node_key().await.ok()?.public().ok()?;
    let digits = key.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Announcement::start(&Service { name: node.name(), digits, port }, Vec::new()))
}

/// Takes up a changed file, or keeps the running configuration and says why. Returns what runs.
async fn reload(
    node: &Node,
    (standby, relay): (Option<&Standby>, Option<&Relay>),
    file: &Path,
    running: NodeConfig,
) -> NodeConfig {
    let refused = |why: String| {
        node.config_refused(&why);
        output::complain(format_args!("the changed configuration is refused, the running one stays:\n{why}"));
    };
    let loaded = match config::load(file) {
        Ok(loaded) => loaded,
        Err(error) => {
            refused(error.to_string());
            return running;
        }
    };
    if loaded.report.failed() {
        refused(loaded.report.show(file).to_string());
        return running;
    }
    if !loaded.report.is_empty() {
        output::complain(loaded.report.show(file));
    }
    match node.apply(loaded.node.recorder.clone()).await {
        Ok(mut applied) => {
            // What was changed meanwhile stays, unless the file says something else than before.
            if loaded.node.replenish != running.replenish {
                let paused = node.replenishing().settings().paused;
                node.replenishing().set(ReplenishSettings { paused, ..loaded.node.replenish });
            }
            node.replenishing().set_card_limits(loaded.node.card_limits.clone());
            if loaded.node.listen != running.listen {
                applied.needs_restart.push("listen");
            }
            if loaded.node.edge.disks != running.edge.disks {
                applied.needs_restart.push("edge.disk");
            }
            info!("{}", summary(&applied));
            if let Some(standby) = standby
                && let Err(error) = standby.apply(loaded.node.standby.clone()).await
            {
                error!(%error, "the changed [standby] is not taken up");
            }
            if let Some(relay) = relay
                && let Err(error) = relay.apply(loaded.node.edge.clone()).await
            {
                error!(%error, "the changed [edge] is not taken up");
            }
            // What needs a restart is not in force and is compared with again at the next reload.
            let edge = EdgeConfig { disks: running.edge.disks, ..loaded.node.edge };
            NodeConfig { listen: running.listen, edge, ..loaded.node }
        }
        Err(error) => {
            refused(error.to_string());
            running
        }
    }
}

/// What a reload did, in one sentence.
fn summary(applied: &Applied) -> String {
    let Applied { added, removed, changed, needs_restart } = applied;
    let mut text = format!(
        "configuration reloaded: {} cameras added, {} removed, {} changed, the others not touched",
        added.len(),
        removed.len(),
        changed.len()
    );
    if !needs_restart.is_empty() {
        text += &format!("; takes effect when the node starts anew: {}", needs_restart.join(", "));
    }
    text
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Reload,
    End,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::End,
            _ = self.interrupt.recv() => Wish::End,
            _ = self.hang_up.recv() => Wish::Reload,
        }
    }

    async fn end(&mut self) {
        while self.next().await != Wish::End {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_told_in_one_sentence() {
        let id = |text: &str| text.parse().unwrap();
        let applied = Applied {
            added: vec![id("a"), id("b")],
            removed: vec![],
            changed: vec![id("c")],
            needs_restart: vec!["data", "listen"],
        };
        assert_eq!(
            summary(&applied),
            "configuration reloaded: 2 cameras added, 0 removed, 1 changed, the others not touched; takes effect when \
             the node starts anew: data, listen"
        );
    }
}
