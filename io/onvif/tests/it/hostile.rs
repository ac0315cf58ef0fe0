use std::time::Duration;

use keepwatch_onvif::client::{ClientError, Device, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use crate::script::{Answer, Script, clock, information, seconds_now, services};

/// A server that reads a request and then writes `head` and `more`, again and again, for ever.
async fn endless(head: &'static str, more: &'static [u8]) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(head.as_bytes()).await;
                while !more.is_empty() && stream.write_all(more).await.is_ok() {}
                std::future::pending::<()>().await;
            });
        }
    });
    url
}

async fn error_of(url: Url) -> ClientError {
    let options = Options { call_time: Duration::from_secs(5), ..Options::new(url) };
    Device::connect(options).await.err().expect("that is no device")
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let url = endless("HTTP/1.1 200 OK\r\n\r\n<a>", &[b'x'; 16384]).await;
    let error = error_of(url).await;
    assert!(matches!(error, ClientError::TooLong { .. }), "{error}");
}

#[tokio::test]
async fn a_head_without_end_is_cut() {
    let url = endless("HTTP/1.1 200 OK\r\nX: ", &[b'x'; 16384]).await;
    let error = error_of(url).await;
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
}

#[tokio::test]
async fn silence_is_waited_for_as_long_as_was_said() {
    let url = endless("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<a>", b"").await;
    let after = Duration::from_millis(200);
    let options = Options { call_time: after, ..Options::new(url) };
    let error = Device::connect(options).await.err().unwrap();
    assert!(matches!(error, ClientError::TimedOut { after: told, .. } if told == after), "{error}");
}

#[tokio::test]
async fn bombs_garbage_and_web_pages_are_errors_and_the_next_call_works() {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let bodies: [&[u8]; 6] = [
        b"<!DOCTYPE b [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]><s:Envelope xmlns:s='x'><s:Body>&b;</s:Body></s:Envelope>",
        b"\x00\xFF\xFE garbage",
        b"<html><body>Login</body></html>",
        b"--uuid:1\r\nContent-Type: application/xop+xml\r\n\r\n<a/>\r\n--uuid:1--",
        b"",
        b"<s:Envelope xmlns:s='x'><s:Body><GetUsersResponse/></s:Body></s:Envelope>",
    ];
    let script = Script::device(move |_| {
        let position = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        bodies.get(position).map_or_else(information, |body| Answer::raw(200, *body))
    });
    let script = script.await;
    let device = script.connect().await;
    for _ in bodies {
        let error = device.information().await.unwrap_err();
        assert!(matches!(error, ClientError::Http { .. } | ClientError::Missing { .. }), "{error}");
        assert!(error.to_string().len() < 300);
    }
    device.information().await.unwrap();
}

#[tokio::test]
async fn nesting_and_numbers_of_elements_are_bounded() {
    for bomb in ["<a>".repeat(100_000), format!("<a>{}</a>", "<b/>".repeat(100_000))] {
        let script = Script::device(move |_| Answer::body(&bomb));
        let error = script.await.connect().await.information().await.unwrap_err();
        assert!(error.to_string().contains("has more than"), "{error}");
    }
}

/// Recorders that pose as cameras have two profiles for each of 64 channels, and tell much of each.
#[tokio::test]
async fn the_profiles_of_a_large_recorder_are_read() {
    let filler =
        format!("<tt:Extension>{}</tt:Extension>", "<tt:Item Name=\"name\" Value=\"value\"/>".repeat(400));
    let profiles: String = (0..128)
        .map(|number| {
            format!(
                "<trt:Profiles token=\"P{number}\"><tt:Name>N</tt:Name><tt:VideoEncoderConfiguration><tt:Encoding>H264</tt:Encoding>\
                 </tt:VideoEncoderConfiguration>{filler}</trt:Profiles>"
            )
        })
        .collect();
    assert!(profiles.len() > 1 << 20);
    let script = Script::device(move |asked| match (asked.call.as_str(), asked.path.as_str()) {
        ("GetProfiles", "/onvif/media2") => Answer::fault(&["ActionNotSupported"], "no"),
        ("GetProfiles", _) => {
            Answer::body(&format!("<trt:GetProfilesResponse>{profiles}</trt:GetProfilesResponse>"))
        }
        (other, _) => panic!("{other}"),
    });
    assert_eq!(script.await.connect().await.profiles().await.unwrap().len(), 128);
}

/// Answers each request with a head that no standard allows.
#[tokio::test]
async fn a_head_that_is_carelessly_written_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"</s:Envelope>")
                && stream.read_buf(&mut request).await.is_ok_and(|n| n > 0)
            {}
            let body = "<E:Envelope xmlns:E='e'><E:Body><GetServicesResponse/></E:Body></E:Envelope>";
            let head = format!(
                "HTTP/1.1 200 OK\r\nServer: camera\r\n httpd\r\nX (bad): 1\r\nContent-Length : {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + body).as_bytes()).await;
        }
    });
    assert_eq!(Device::connect(Options::new(url)).await.unwrap().services(), []);
}

#[tokio::test]
async fn a_redirection_to_another_host_is_not_followed() {
    for location in ["http://192.0.2.1/onvif/device_service", "file:///etc/passwd", "https://evil.example/"] {
        let script = Script::device(move |_| Answer::raw(302, "").with("location", location));
        let error = script.await.connect().await.information().await.unwrap_err();
        assert!(matches!(&error, ClientError::Redirected(told) if told == location), "{error}");
    }
}

#[tokio::test]
async fn a_redirection_on_the_same_host_is_followed_and_a_circle_is_not() {
    let script = Script::device(|asked| match asked.path.as_str() {
        "/elsewhere" => information(),
        _ => Answer::raw(307, "").with("location", "/elsewhere"),
    });
    script.await.connect().await.information().await.unwrap();
    let script = Script::device(|_| Answer::raw(307, "").with("location", "/onvif/device_service"));
    let error = script.await.connect().await.information().await.unwrap_err();
    assert!(matches!(error, ClientError::Redirected(_)), "{error}");
}

#[tokio::test]
async fn services_at_senseless_addresses_are_not_taken() {
    let script = Script::start(|asked| match asked.call.as_str() {
        "GetSystemDateAndTime" => clock(seconds_now()),
        "GetServices" => Answer::body(
            "<tds:GetServicesResponse><tds:Service><tds:Namespace>a</tds:Namespace><tds:XAddr>file:///etc/passwd</tds:XAddr>\
             </tds:Service><tds:Service><tds:Namespace>b</tds:Namespace></tds:Service><tds:Service/></tds:GetServicesResponse>",
        ),
        _ => services(),
    });
    assert_eq!(script.await.connect().await.services(), []);
}

/// A camera whose clock says the 31st of February must not cost the login.
#[tokio::test]
async fn a_clock_that_makes_no_sense_is_no_clock() {
    let script = Script::start(|asked| match asked.call.as_str() {
        "GetSystemDateAndTime" => Answer::body(
            "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:UTCDateTime><tt:Time><tt:Hour>99</tt:Hour>\
             <tt:Minute>0</tt:Minute><tt:Second>0</tt:Second></tt:Time><tt:Date><tt:Year>65535</tt:Year><tt:Month>2</tt:Month>\
             <tt:Day>31</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>",
        ),
        _ => services(),
    });
    assert_eq!(script.await.connect().await.clock_offset_ticks(), None);
}
