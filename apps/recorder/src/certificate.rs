//! What this node shows over TLS: the operator's certificate, or one that the node makes for itself and keeps.
//!
//! It is opened once for all servers, whichever asks first. One that cannot be opened is tried again by the next that
//! asks. While the node runs it is looked at every hour: the node's own is made anew before it ends, and the operator's is
//! taken up when its files change; who is connected stays connected. Making and keeping are in `io/tls`; here an operator
//! is told.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_model::{EventCode, Subject, WallTime};
use keepwatch_tls::{CurrentIdentity, Identity, IdentityError, Making, Names};
use tokio::sync::{OnceCell, watch};

use crate::config::TlsFiles;
use crate::events::Events;

/// Time between two looks: whoever renews certificates does it weeks before they end.
const LOOK_INTERVAL: Duration = Duration::from_secs(3_600);

/// The certificate of a node, which is opened when it is needed.
pub(crate) struct Certificate {
    /// The operator's; `None` for the node's own.
    files: Option<TlsFiles>,
    /// Where the node's own is kept.
    data: PathBuf,
    /// Name of the node, by which it may be known besides the machine's.
    name: String,
    /// The recorder's idea of UTC.
    wall: Box<dyn Fn() -> WallTime + Send + Sync>,
    events: Arc<Events>,
    opened: OnceCell<CurrentIdentity>,
}

/// What a look found. It is acted on when the next one finds it again: a clock may be wrong for a while, and of two files
/// that change together one may be there already.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    /// Nothing is to be done.
    Well,
    /// The node's own ends soon.
    Due,
    /// The operator's files cannot be used, and why.
    Unusable(String),
    /// The same, and it was told.
    Told(String),
}

impl Certificate {
    /// The certificate of `files`, else the node's own in `data`, which names the node `name`; it is not opened yet. `wall`
    /// tells the time.
    pub(crate) fn new(
        files: Option<TlsFiles>,
        data: PathBuf,
        name: String,
        wall: impl Fn() -> WallTime + Send + Sync + 'static,
        events: Arc<Events>,
    ) -> Self {
        Self { files, data, name, wall: Box::new(wall), events, opened: OnceCell::new() }
    }

    /// Opens it, unless that was done before.
    pub(crate) async fn open(&self) -> Result<CurrentIdentity, IdentityError> {
        let read = async || Ok(CurrentIdentity::new(self.read().await?));
        self.opened.get_or_try_init(read).await.cloned()
    }

    /// By what clients know it at the moment; `None` until it was opened.
    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        self.opened.get().map(CurrentIdentity::fingerprint)
    }

    /// Looks every hour whether another is to be shown, until `stopped` changes.
    pub(crate) async fn keep_current(&self, mut stopped: watch::Receiver<bool>) {
        let mut last = Finding::Well;
        loop {
            tokio::select! {
                _ = stopped.changed() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            last = self.look(last).await;
        }
    }

    /// Takes up the operator's files at once, because somebody says that they changed.
    pub(crate) async fn take_up(&self) {
        if self.files.is_some()
            && let Some(current) = self.opened.get()
            && let Err(error) = self.take_up_files(current).await
        {
            self.tell_unusable(&error.to_string());
        }
    }

    /// One look, after one that found `last`.
    async fn look(&self, last: Finding) -> Finding {
        let Some(current) = self.opened.get() else { return Finding::Well };
        if self.files.is_some() {
            let Err(error) = self.take_up_files(current).await else { return Finding::Well };
            let why = error.to_string();
            return match last {
                Finding::Told(told) if told == why => Finding::Told(told),
                Finding::Unusable(_) | Finding::Told(_) => {
                    self.tell_unusable(&why);
                    Finding::Told(why)
                }
                Finding::Well | Finding::Due => Finding::Unusable(why),
            };
        }
        if current.identity().lasts((self.wall)()) {
            return Finding::Well;
        }
        if last == Finding::Due {
            match self.read().await {
                Ok(identity) => {
                    current.replace(identity);
                    return Finding::Well;
                }
                Err(error) => {
                    tracing::error!(%error, "the certificate ends soon and cannot be made anew; tried again in an hour");
                }
            }
        }
        Finding::Due
    }

    /// Shows what the operator's files hold, if that is another certificate.
    async fn take_up_files(&self, current: &CurrentIdentity) -> Result<(), IdentityError> {
        let identity = self.read().await?;
        if !identity.shows_the_same(&current.identity()) {
            let text = format!(
                "the files of the certificate changed; {} is shown from here on, who is connected stays connected",
                identity.fingerprint()
            );
            current.replace(identity);
            self.tell(EventCode::CertificateTaken, text);
        }
        Ok(())
    }

    async fn read(&self) -> Result<Identity, IdentityError> {
        let (files, data, name) = (self.files.clone(), self.data.clone(), self.name.clone());
        let now = (self.wall)();
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
            self.tell_made(&identity, making);
        }
        Ok(identity)
    }

    fn tell_made(&self, identity: &Identity, making: Making) {
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
        self.tell(EventCode::CertificateMade, text);
    }

    fn tell_unusable(&self, why: &str) {
        let text = format!("the changed certificate cannot be used, the one before is still shown: {why}");
        self.tell(EventCode::CertificateUnusable, text);
    }

    fn tell(&self, code: EventCode, text: String) {
        tracing::info!(%code, "{text}");
        self.events.add((self.wall)(), code, Subject::Node, text);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("opened", &self.opened).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
