//! The users of a node that runs: opened at its start, with an invitation to the first of them; and what the event log is
//! told of the audit log.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keepwatch_edge::Relay;
use keepwatch_model::{EventCode, Subject};
use keepwatch_recorder::config::Fingerprint;
use keepwatch_recorder::{Node, api, peers};
use keepwatch_standby::Standby;
use keepwatch_web::{
    Application, Asset, Audit, AuditOpened, Auth, AuthConfig, Clock, FirstUser, SystemClock,
};
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Variable that holds the first administrator's password.
const PASSWORD_VARIABLE: &str = "KEEPWATCH_ADMIN_PASSWORD";

/// Time between two events that tell the end of the audit log.
const HEAD_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// What a node serves, and who is to be invited.
pub(crate) struct Opened {
    /// All routes.
    pub(crate) application: Application,
    /// The audit log.
    pub(crate) audit: Audit,
    /// The code with which the first administrator is made; `None` when there is one.
    pub(crate) code: Option<String>,
}

/// Opens the users and the audit log in `data`. Without a `standby` or a `relay` its routes are not there.
pub(crate) fn open(
    node: &Node,
    standby: Option<&Standby>,
    relay: Option<&Relay>,
    data: &Path,
) -> anyhow::Result<Opened> {
    let given = std::env::var(PASSWORD_VARIABLE).ok();
    let was_given = given.is_some();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (audit, found) = Audit::open(data, Arc::clone(&clock))?;
    tell_found(found);
    let (auth, first) = Auth::open(AuthConfig {
        data: data.to_owned(),
        admin_password: given,
        watcher: Arc::new(node.clone()),
        clock,
        audit: audit.clone(),
    })?;
    let code = match first {
        FirstUser::Present if was_given => {
            info!("{PASSWORD_VARIABLE} is not used: this node has users already");
            None
        }
        FirstUser::Present => None,
        FirstUser::Created => {
            info!("the user admin was created with the password from {PASSWORD_VARIABLE}");
            None
        }
        FirstUser::Awaited(code) => Some(code),
    };
    let routes = api::routes(node.clone(), &[keepwatch_standby::api::part(), keepwatch_edge::api::part()]);
    let routes = match standby {
        Some(standby) => routes.merge(keepwatch_standby::api::routes(standby.clone())),
        None => routes,
    };
    let routes = match relay {
        Some(relay) => routes.merge(keepwatch_edge::api::routes(relay.clone())),
        None => routes,
    };
    let nodes = peers::routes(node.clone(), auth.clone());
    let nodes = match standby {
        Some(standby) => nodes.merge(keepwatch_standby::node_routes(standby.clone())),
        None => nodes,
    };
    let application = Application::new(&auth, routes, Some(Arc::new(console))).with_nodes(nodes);
    Ok(Opened { application, audit, code })
}

/// The console's file at `path`.
fn console(path: &str) -> Option<Asset> {
    let keepwatch_ui::Asset { bytes, media_type, etag, immutable, .. } = *keepwatch_ui::find(path)?;
    Some(Asset { bytes, media_type, etag, immutable })
}

fn tell_found(found: AuditOpened) {
    let AuditOpened { unfinished_bytes, damaged_lines } = found;
    if unfinished_bytes > 0 {
        info!(
            unfinished_bytes,
            "an entry of the audit log was not finished when the node ended, and was removed"
        );
    }
    if damaged_lines > 0 {
        warn!(damaged_lines, "lines of the audit log are no entries; keepwatch audit verify says more");
    }
}

/// Tells whoever reads standard error how to make the first administrator: to standard error and not to the log, whose
/// filter might swallow it. The code stands behind the `#`, which no browser sends to a server.
pub(crate) fn invitation(code: &str, addresses: &[SocketAddr], fingerprint: Fingerprint) -> String {
    let links: Vec<String> =
        addresses.iter().map(|address| format!("  https://{}/#/setup/{code}", place(*address))).collect();
    format!(
        "There is no user yet. To choose the password of \"admin\", open\n{}\nThe browser will not know the \
         certificate; it is the right one if it shows the fingerprint\n  {fingerprint}\nThe code {code} holds until it \
         is used or the node ends.",
        links.join("\n")
    )
}

/// An address as others reach it: by the name of this machine where it stands for all.
fn place(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        return format!("{host}:{}", address.port());
    }
    address.to_string()
}

/// Tells the event log the end of the audit log at the start and each day, and when it cannot be written. Ends when the
/// result is dropped.
pub(crate) fn tell_of_audit(node: &Node, audit: &Audit) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (teller, heads) = (node.clone(), audit.clone());
    tasks.spawn(async move {
        let mut days = tokio::time::interval(HEAD_INTERVAL);
        loop {
            days.tick().await;
            let head = heads.head();
            if !head.is_empty() {
                teller.add_event(EventCode::AuditHead, Subject::Node, head.to_string());
            }
        }
    });
    let (teller, failing) = (node.clone(), audit.clone());
    tasks.spawn(async move {
        let mut changes = failing.changes();
        let mut failed = false;
        loop {
            match failing.failure() {
                Some(why) if !failed => {
                    let text = format!(
                        "the audit log cannot be written: {why}; changes of users are refused until it can; make room, \
                         or mend the disk"
                    );
                    teller.add_event(EventCode::AuditFailed, Subject::Node, text);
                    failed = true;
                }
                None if failed => {
                    let text = "the audit log is written again".to_owned();
                    teller.add_event(EventCode::AuditWritten, Subject::Node, text);
                    failed = false;
                }
                Some(_) | None => {}
            }
            changes.next().await;
        }
    });
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_names_every_address_and_hides_the_code_from_servers() {
        let addresses = ["[::]:8443".parse().unwrap(), "127.0.0.1:1".parse().unwrap()];
        let text = invitation("abcd-efgh", &addresses, Fingerprint::of_certificate(b"x"));
        assert!(text.contains("https://127.0.0.1:1/#/setup/abcd-efgh\n"), "{text}");
        assert!(text.contains(":8443/#/setup/abcd-efgh\n") && !text.contains("[::]"), "{text}");
        assert!(text.contains("sha256:"), "{text}");
    }
}
