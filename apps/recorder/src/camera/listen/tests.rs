//! A device that answers by a script, and what the listener asks of it.

use std::sync::{Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use keepwatch_onvif::soap::{self, Envelope, Fault, Header};

use super::super::bench::Bench;
use super::*;
use crate::config::{CameraSource, Secret};

/// What the script says to calls about events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Events {
    /// The user may not subscribe.
    Forbidden,
    /// The user may subscribe, and may not pull.
    Silent,
}

/// A camera with one profile, which tells all calls it gets.
struct Script {
    bench: Bench,
    calls: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Script {
    async fn start(events: Events) -> Self {
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&calls);
        let router = Router::new().fallback(async move |body: Bytes| {
            let call = Envelope::parse(&body).unwrap().operation().unwrap().name.clone();
            let answered = answer(&call, events);
            log.lock().unwrap_or_else(PoisonError::into_inner).push(call);
            answered
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let mut config = CameraConfig::new("gate".parse().unwrap(), "rtsp://h/".parse().unwrap());
        let url = format!("http://{address}").parse().unwrap();
        config.source = CameraSource::Onvif { url, sub: false, events: true };
        config.user = Some("u".to_owned());
        config.password = Some(Secret::new("right"));
        Self { bench: Bench::new(config), calls, server }
    }

    fn calls(&self, name: &str) -> usize {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|call| *call == name).count()
    }

    fn listen(&self) -> Listener {
        Listener::start(self.bench.context.clone(), Arc::clone(&self.bench.camera))
    }

    /// Waits until the listener gives up for a while; returns why.
    async fn why(&self) -> String {
        let waiting = || match self.bench.camera.listening() {
            Some(Listening::Waiting(why)) => Some(why),
            Some(Listening::Heard) | None => None,
        };
        self.bench.wait_until(|| waiting().is_some()).await;
        waiting().unwrap()
    }
}

fn answer(call: &str, events: Events) -> (StatusCode, String) {
    let content = match call {
        "GetServices" => {
            let service = |name: &str| {
                format!(
                    "<tds:Service><tds:Namespace>http://www.onvif.org/ver10/{name}/wsdl</tds:Namespace>\
                     <tds:XAddr>http://camera/onvif/{name}</tds:XAddr></tds:Service>"
                )
            };
            service("media") + &service("events")
        }
        "GetProfiles" => {
            "<trt:Profiles token=\"a\"><tt:VideoEncoderConfiguration><tt:Encoding>H264</tt:Encoding>\
                          </tt:VideoEncoderConfiguration></trt:Profiles>"
                .to_owned()
        }
        "GetStreamUri" => "<trt:MediaUri><tt:Uri>rtsp://camera/a</tt:Uri></trt:MediaUri>".to_owned(),
        "CreatePullPointSubscription" if events == Events::Silent => {
            "<tev:SubscriptionReference><wsa:Address>http://camera/onvif/point</wsa:Address>\
             </tev:SubscriptionReference>"
                .to_owned()
        }
        "CreatePullPointSubscription" | "PullMessages" => {
            let fault = Fault::sender(&["NotAuthorized"], "Sender not Authorized");
            let refused = soap::write(&Header::default(), |writer| fault.write(writer));
            return (StatusCode::BAD_REQUEST, refused);
        }
        _ => String::new(),
    };
    let empty = soap::write(&Header::default(), |writer| writer.empty("x", &[]));
    (StatusCode::OK, empty.replace("<x/>", &format!("<{call}Response>{content}</{call}Response>")))
}

/// Cameras say of a user without the right to subscribe what they say of a wrong password.
#[tokio::test]
async fn a_user_who_may_not_subscribe_is_no_wrong_password() {
    let script = Script::start(Events::Forbidden).await;
    let listener = script.listen();
    let why = script.why().await;
    assert!(why.contains("takes the login of its streams"), "{why}");
    listener.stop().await;
}

/// Cameras keep ten pull points or fewer.
#[tokio::test]
async fn a_pull_point_that_does_not_answer_is_given_back() {
    let script = Script::start(Events::Silent).await;
    let listener = script.listen();
    script.why().await;
    assert!(script.calls("PullMessages") > 0);
    assert_eq!(script.calls("Unsubscribe"), script.calls("CreatePullPointSubscription"));
    listener.stop().await;
}
