//! `keepwatch scan` against an answer on loopback.

use std::net::UdpSocket;
use std::process::Command;

#[test]
fn a_camera_that_answers_is_told_with_what_to_configure() {
    let camera = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = camera.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            let (length, sender) = camera.recv_from(&mut buffer).unwrap();
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            let id = text.split("<a:MessageID>").nth(1).unwrap().split('<').next().unwrap();
            let answer = format!(
                "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
                 xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
                 xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\"><s:Header><a:RelatesTo>{id}</a:RelatesTo></s:Header>\
                 <s:Body><d:ProbeMatches><d:ProbeMatch><a:EndpointReference><a:Address>urn:uuid:7</a:Address></a:EndpointReference>\
                 <d:Scopes>onvif://www.onvif.org/name/North%20Gate onvif://www.onvif.org/hardware/M1</d:Scopes>\
                 <d:XAddrs>http://10.255.255.1/onvif/device_service</d:XAddrs></d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"
            );
            // A computer answers, too, and says of itself no more than that it is a device.
            let computer =
                answer.replace("urn:uuid:7", "urn:uuid:8").replace("onvif://www.onvif.org/", "ldap:///");
            for answer in [answer, computer] {
                camera.send_to(answer.as_bytes(), sender).unwrap();
            }
        }
    });
    let run = |json: &[&str]| {
        let port = port.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_keepwatch"));
        command.args(["scan", "--probe", "127.0.0.1", "--seconds", "1", "--port", &port]).args(json);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&[]);
    assert!(text.contains("# North Gate, M1, urn:uuid:7\n[[camera]]\nid = \"north-gate\"\n"), "{text}");
    assert_eq!(text.matches("[[camera]]").count(), 1, "{text}");
    assert!(text.contains("onvif = \"http://127.0.0.1/onvif/device_service\"\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
    assert_eq!(json["devices"][0]["name"], "North Gate");
    assert_eq!((json["devices"].as_array().unwrap().len(), &json["others"]), (1, &1.into()));
    assert_eq!(json["counts"]["malformed"], 0);
}
