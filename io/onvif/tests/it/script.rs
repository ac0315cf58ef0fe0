//! A device that answers as a test tells it, over real HTTP.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use keepwatch_media::auth::{Authorization, challenges};
use keepwatch_onvif::client::{Device, Options};
use keepwatch_onvif::soap::{self, Envelope, Fault, Header};
use tokio::net::TcpListener;
use url::Url;

/// A request as the script sees it.
pub(crate) struct Asked {
    /// The name of the call.
    pub(crate) call: String,
    /// The path of the request.
    pub(crate) path: String,
    /// The `Authorization` header.
    pub(crate) authorization: Option<String>,
    /// The whole envelope.
    pub(crate) envelope: Envelope,
}

impl Asked {
    /// The text of an element of the call.
    pub(crate) fn text(&self, path: &[&str]) -> String {
        self.envelope.operation().unwrap().text_at(path).unwrap_or_default().to_owned()
    }
}

/// What the script answers.
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// Anything.
    pub(crate) fn raw(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// The content of a body, with the prefixes of ONVIF declared.
    pub(crate) fn body(content: &str) -> Self {
        let empty = soap::write(&Header::default(), |writer| writer.empty("x", &[]));
        Self::raw(200, empty.replace("<x/>", content))
    }

    /// A fault, with HTTP status 400 as ONVIF has it.
    pub(crate) fn fault(codes: &[&str], reason: &str) -> Self {
        let fault = Fault::sender(codes, reason);
        Self::raw(400, soap::write(&Header::default(), |writer| fault.write(writer)))
    }

    /// A refusal to one without login.
    pub(crate) fn challenge(headers: Vec<String>) -> Self {
        let headers = headers.into_iter().map(|header| ("www-authenticate", header)).collect();
        Self { headers, ..Self::raw(401, "") }
    }

    /// The same with another HTTP status.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The same as a refusal that asks for a digest.
    pub(crate) fn asking_for_digest(self, nonce: &str) -> Self {
        let headers = challenges("camera", nonce, false);
        let refusal = self.with_status(401);
        headers.into_iter().fold(refusal, |refusal, header| refusal.with("www-authenticate", header))
    }

    /// The same with a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A running script.
pub(crate) struct Script {
    /// Where it listens.
    pub(crate) url: Url,
    /// The names of all calls.
    calls: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Script {
    /// Answers the clock and the services itself, and all else by `answer`.
    pub(crate) async fn device(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(move |asked| match asked.call.as_str() {
            "GetSystemDateAndTime" => clock(seconds_now()),
            "GetServices" => services(),
            _ => answer(asked),
        })
        .await
    }

    /// Answers everything by `answer`.
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/onvif/device_service", listener.local_addr().unwrap()).parse().unwrap();
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), Arc::clone(&calls));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                tokio::spawn(async move {
                    let service = service_fn(|request| serve(request, &*answer, &log));
                    // A client that gives up on an answer is part of some tests.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, calls, task }
    }

    /// How to reach it, with the login of the tests.
    pub(crate) fn options(&self) -> Options {
        Options::new(self.url.clone()).with_login(USER, PASSWORD)
    }

    /// A client of it.
    pub(crate) async fn connect(&self) -> Device {
        Device::connect(self.options()).await.unwrap()
    }

    /// How often a call was made.
    pub(crate) fn count(&self, call: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|made| *made == call).count()
    }
}

/// The login of the tests.
pub(crate) const USER: &str = "viewer";
/// Its password.
pub(crate) const PASSWORD: &str = "correct horse";

async fn serve(
    request: Request<Incoming>,
    answer: &(impl Fn(&Asked) -> Answer + ?Sized),
    log: &Mutex<Vec<String>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let authorization =
        request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let envelope = Envelope::parse(&body).unwrap();
    let call = envelope.operation().unwrap().name.clone();
    log.lock().unwrap().push(call.clone());
    let answer = answer(&Asked { call, path, authorization, envelope });
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(answer.body.into())).unwrap())
}

/// Seconds since 1970 by this machine's clock.
pub(crate) fn seconds_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A clock that tells so many seconds since 1970.
pub(crate) fn clock(seconds: i64) -> Answer {
    let text = keepwatch_model::WallTime::from_ticks(seconds * 90_000).to_string();
    let part = |from: usize, to: usize| text[from..to].trim_start_matches('0').parse::<u32>().unwrap_or(0);
    Answer::body(&format!(
        "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType>\
         <tt:UTCDateTime><tt:Time><tt:Hour>{}</tt:Hour><tt:Minute>{}</tt:Minute><tt:Second>{}</tt:Second></tt:Time>\
         <tt:Date><tt:Year>{}</tt:Year><tt:Month>{}</tt:Month><tt:Day>{}</tt:Day></tt:Date></tt:UTCDateTime>\
         </tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>",
        part(11, 13),
        part(14, 16),
        part(17, 19),
        part(0, 4),
        part(5, 7),
        part(8, 10),
    ))
}

/// All services, at addresses of another network.
pub(crate) fn services() -> Answer {
    let service = |namespace: &str, path: &str| {
        format!(
            "<tds:Service><tds:Namespace>{namespace}</tds:Namespace><tds:XAddr>http://172.17.0.2/onvif/{path}</tds:XAddr></tds:Service>"
        )
    };
    let all: String = ["media", "events", "recording", "search", "replay"]
        .iter()
        .map(|name| service(&format!("http://www.onvif.org/ver10/{name}/wsdl"), name))
        .collect();
    let media2 = service("http://www.onvif.org/ver20/media/wsdl", "media2");
    Answer::body(&format!("<tds:GetServicesResponse>{all}{media2}</tds:GetServicesResponse>"))
}

/// An answer to `GetDeviceInformation`.
pub(crate) fn information() -> Answer {
    Answer::body(
        "<tds:GetDeviceInformationResponse><tds:Manufacturer>ACME</tds:Manufacturer><tds:Model>M1</tds:Model>\
         <tds:FirmwareVersion>1.2</tds:FirmwareVersion><tds:SerialNumber>7</tds:SerialNumber>\
         <tds:HardwareId>H</tds:HardwareId></tds:GetDeviceInformationResponse>",
    )
}

/// Whether a request has the right digest to a challenge with `nonce`.
pub(crate) fn has_digest(asked: &Asked, nonce: &str) -> bool {
    let authorization = asked.authorization.as_deref().and_then(|header| Authorization::parse(header).ok());
    authorization.is_some_and(|authorization| {
        assert_eq!(authorization.uri(), Some(asked.path.as_str()));
        authorization.user() == USER && authorization.verify(PASSWORD, "camera", nonce, "POST")
    })
}

/// A challenge with `nonce`.
pub(crate) fn challenge(nonce: &str, stale: bool) -> Answer {
    Answer::challenge(challenges("camera", nonce, stale))
}
