//! What this node shows over TLS: the operator's certificate, or one that the node makes for itself and keeps.
//!
//! It is opened once for all servers, whichever asks first. One that cannot be opened is tried again by the next that
//! asks. Making, keeping and renewing are in `io/tls`; here an operator is told.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_model::{EventCode, Subject};
use keepwatch_tls::{Identity, IdentityError, Making, Names};
use tokio::sync::OnceCell;

use crate::clock::Clock;
use crate::config::TlsFiles;
use crate::events::Events;

/// The certificate of a node, which is opened when it is needed.
pub(crate) struct Certificate {
    /// The operator's; `None` for the node's own.
    files: Option<TlsFiles>,
    /// Where the node's own is kept.
    data: PathBuf,
    /// Name of the node, by which it may be known besides the machine's.
    name: String,
    clock: Clock,
    events: Arc<Events>,
    opened: OnceCell<Identity>,
}

impl Certificate {
    /// The certificate of `files`, else the node's own in `data`, which names the node `name`; it is not opened yet.
    pub(crate) fn new(
        files: Option<TlsFiles>,
        data: PathBuf,
        name: String,
        clock: Clock,
        events: Arc<Events>,
    ) -> Self {
        Self { files, data, name, clock, events, opened: OnceCell::new() }
    }

    /// Opens it, unless that was done before.
    pub(crate) async fn open(&self) -> Result<Identity, IdentityError> {
        self.opened.get_or_try_init(|| self.read()).await.cloned()
    }

    /// By what clients know it; `None` until it was opened.
    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        self.opened.get().map(Identity::fingerprint)
    }

    async fn read(&self) -> Result<Identity, IdentityError> {
        let (files, data, name) = (self.files.clone(), self.data.clone(), self.name.clone());
        let now = self.clock.wall();
        let open = move || match files {
            Some(files) => Ok((Identity::load(&files)?, None)),
            None => {
                let mut names = Names::of_this_machine();
                names.add(&name);
                Identity::keep(&data, &names, now)
            }
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let interrupted =
            |error| IdentityError::Keep { path: self.data.clone(), source: io::Error::other(error) };
        let (identity, making) = opened.map_err(interrupted)??;
        if let Some(making) = making {
            self.tell(&identity, making);
        }
        Ok(identity)
    }

    fn tell(&self, identity: &Identity, making: Making) {
        let fingerprint = identity.fingerprint();
        let why = match making {
            Making::First => "there was none",
            Making::Due => {
                "the one before has ended, ends soon, or does not begin yet by this machine's clock; clients that know it by its fingerprint need this one"
            }
            Making::Unfit => {
                "the one before could not be used; clients that know it by its fingerprint need this one"
            }
        };
        let text = format!("the node made itself a certificate, {fingerprint}: {why}");
        tracing::info!(code = %EventCode::CertificateMade, "{text}");
        self.events.add(self.clock.wall(), EventCode::CertificateMade, Subject::Node, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepwatch_model::WallTime;
    use keepwatch_store::{EventLog, EventQuery};
    use tempfile::TempDir;

    struct Site {
        directory: TempDir,
        events: Arc<Events>,
    }

    impl Site {
        fn new() -> Self {
            let directory = TempDir::new().unwrap();
            let events = Arc::new(Events::new(EventLog::open(directory.path()).unwrap()));
            Self { directory, events }
        }

        fn certificate(&self, tls: Option<TlsFiles>) -> Certificate {
            let (data, events) = (self.directory.path().to_owned(), Arc::clone(&self.events));
            Certificate::new(tls, data, "gate".to_owned(), Clock::new(), events)
        }

        /// The sentences of events about certificates.
        fn told(&self) -> Vec<String> {
            self.events.log().flush();
            let (from, to) = (WallTime::MIN, WallTime::MAX);
            let query = EventQuery { from, to, newest_first: false, after: None, limit: 10 };
            let page = self.events.log().page(&query).unwrap();
            let events = page.items.into_iter().map(|(_, event)| event);
            events.filter(|event| event.code == EventCode::CertificateMade).map(|event| event.text).collect()
        }
    }

    #[tokio::test]
    async fn all_servers_show_one_certificate_and_its_making_is_told_once() {
        let site = Site::new();
        let certificate = site.certificate(None);
        let (one, other) = tokio::join!(certificate.open(), certificate.open());
        let fingerprint = one.unwrap().fingerprint();
        assert_eq!(other.unwrap().fingerprint(), fingerprint);
        let again = site.certificate(None).open().await.unwrap();
        assert_eq!(again.fingerprint(), fingerprint);
        let told = site.told();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(&fingerprint.to_string()), "{told:?}");
    }

    #[tokio::test]
    async fn an_operators_certificate_that_comes_late_is_taken_and_nothing_is_made() {
        let site = Site::new();
        let made_elsewhere = Site::new();
        let identity = made_elsewhere.certificate(None).open().await.unwrap();
        let (there, here) = (made_elsewhere.directory.path(), site.directory.path());
        let files = TlsFiles { certificate: here.join("c.pem"), key: here.join("k.pem") };
        let certificate = site.certificate(Some(files.clone()));
        let error = certificate.open().await.unwrap_err().to_string();
        assert!(error.contains("c.pem"), "{error}");
        std::fs::copy(there.join("tls-certificate.pem"), &files.certificate).unwrap();
        std::fs::copy(there.join("tls-key.pem"), &files.key).unwrap();
        assert_eq!(certificate.open().await.unwrap().fingerprint(), identity.fingerprint());
        assert_eq!(site.told(), Vec::<String>::new());
    }
}
