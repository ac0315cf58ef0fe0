use std::sync::Mutex;

use super::*;
use crate::clock::Clock;
use keepwatch_model::TICKS_PER_SECOND;
use keepwatch_store::{EventLog, EventQuery};
use tempfile::TempDir;

struct Site {
    directory: TempDir,
    events: Arc<Events>,
    /// What the clock shows.
    wall: Arc<Mutex<WallTime>>,
}

impl Site {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let events = Arc::new(Events::new(EventLog::open(directory.path()).unwrap()));
        Self { directory, events, wall: Arc::new(Mutex::new(Clock::new().wall())) }
    }

    fn certificate(&self, tls: Option<TlsFiles>) -> Certificate {
        let (data, events) = (self.directory.path().to_owned(), Arc::clone(&self.events));
        let wall = Arc::clone(&self.wall);
        Certificate::new(tls, data, "gate".to_owned(), move || *wall.lock().unwrap(), events)
    }

    /// Sets the clock so many days forward, or back.
    fn pass_days(&self, days: i64) {
        let mut wall = self.wall.lock().unwrap();
        *wall = wall.plus(days * 86_400 * TICKS_PER_SECOND);
    }

    /// Puts the identity that `other` keeps into the files of an operator.
    fn install(&self, other: &Self) -> TlsFiles {
        let (there, here) = (other.directory.path(), self.directory.path());
        let files = TlsFiles { certificate: here.join("c.pem"), key: here.join("k.pem") };
        std::fs::copy(there.join("tls-certificate.pem"), &files.certificate).unwrap();
        std::fs::copy(there.join("tls-key.pem"), &files.key).unwrap();
        files
    }

    /// The sentences of events about certificates.
    fn told(&self) -> Vec<String> {
        self.events.log().flush();
        let (from, to) = (WallTime::MIN, WallTime::MAX);
        let query = EventQuery { from, to, newest_first: false, after: None, limit: 10 };
        let page = self.events.log().page(&query).unwrap();
        let events = page.items.into_iter().map(|(_, event)| event);
        events.map(|event| event.text).collect()
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
    let files = TlsFiles {
        certificate: site.directory.path().join("c.pem"),
        key: site.directory.path().join("k.pem"),
    };
    let certificate = site.certificate(Some(files));
    let error = certificate.open().await.unwrap_err().to_string();
    assert!(error.contains("c.pem"), "{error}");
    site.install(&made_elsewhere);
    assert_eq!(certificate.open().await.unwrap().fingerprint(), identity.fingerprint());
    assert_eq!(site.told(), Vec::<String>::new());
}

/// Lets the certificate be looked at for so many hours of virtual time.
async fn hours(certificate: &Certificate, hours: u64) {
    let (stop, stopped) = watch::channel(false);
    tokio::join!(certificate.keep_current(stopped), async {
        tokio::time::sleep(Duration::from_secs(hours * 3_600 + 1)).await;
        stop.send_replace(true);
    });
}

#[tokio::test(start_paused = true)]
async fn a_node_that_runs_for_years_makes_its_certificate_anew_in_time() {
    let site = Site::new();
    let certificate = site.certificate(None);
    let shown = certificate.open().await.unwrap();
    let first = shown.fingerprint();
    site.pass_days(760);
    hours(&certificate, 3).await;
    assert_eq!(shown.fingerprint(), first, "more than 60 days are left");
    site.pass_days(10);
    hours(&certificate, 1).await;
    assert_eq!(shown.fingerprint(), first, "one look may have met a wrong clock");
    hours(&certificate, 2).await;
    let second = shown.fingerprint();
    assert_ne!(second, first);
    assert_eq!(certificate.fingerprint(), Some(second), "what status says");
    site.pass_days(770);
    hours(&certificate, 2).await;
    assert_ne!(shown.fingerprint(), second);
    hours(&certificate, 50).await;
    let told = site.told();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[1].contains(&second.to_string()) && told[2].contains(&shown.fingerprint().to_string()));
    let kept = site.certificate(None).open().await.unwrap();
    assert_eq!(kept.fingerprint(), shown.fingerprint(), "the next start shows the same");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_for_an_hour_changes_no_certificate() {
    let site = Site::new();
    let certificate = site.certificate(None);
    let first = certificate.open().await.unwrap().fingerprint();
    let (stop, stopped) = watch::channel(false);
    tokio::join!(certificate.keep_current(stopped), async {
        for days in [-20_000, 20_000, 800, -800] {
            site.pass_days(days);
            tokio::time::sleep(LOOK_INTERVAL + Duration::from_secs(1)).await;
        }
        stop.send_replace(true);
    });
    assert_eq!(certificate.fingerprint(), Some(first));
    assert_eq!(site.told().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_operators_certificate_that_changes_is_taken_up_and_one_that_is_unfit_is_told_once() {
    let (site, one, other) = (Site::new(), Site::new(), Site::new());
    let first = one.certificate(None).open().await.unwrap().fingerprint();
    let second = other.certificate(None).open().await.unwrap().fingerprint();
    let files = site.install(&one);
    let certificate = site.certificate(Some(files.clone()));
    let shown = certificate.open().await.unwrap();
    hours(&certificate, 3).await;
    assert_eq!(site.told(), Vec::<String>::new());
    // Only one of both is there yet.
    std::fs::copy(other.directory.path().join("tls-certificate.pem"), &files.certificate).unwrap();
    hours(&certificate, 1).await;
    assert_eq!((shown.fingerprint(), site.told().len()), (first, 0));
    hours(&certificate, 5).await;
    let told = site.told();
    assert!(told.len() == 1 && told[0].contains("c.pem") && told[0].contains("still shown"), "{told:?}");
    assert_eq!(shown.fingerprint(), first);
    site.install(&other);
    hours(&certificate, 1).await;
    assert_eq!(shown.fingerprint(), second);
    assert!(site.told()[1].contains(&second.to_string()));
    // At once, when somebody says so.
    site.install(&one);
    certificate.take_up().await;
    assert_eq!(shown.fingerprint(), first);
    std::fs::remove_file(&files.key).unwrap();
    certificate.take_up().await;
    let told = site.told();
    assert!(told.len() == 4 && told[3].contains("k.pem"), "{told:?}");
    assert_eq!(shown.fingerprint(), first);
}
