//! The HTTP server as another machine meets it, by a client that is not ours (Python's, over OpenSSL).

use keepwatch_it::{Network, Node, Scene, namespaces};
use serde_json::{Value, json};

use crate::shared;

/// Asks one thing in each way; prints status, headers of interest and the certificate's fingerprint.
const CLIENT: &str = r#"
import hashlib, http.client, json, ssl, sys
host, port, password = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
told = {}
def ask(name, secure, method, path, body=None, headers={}):
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, port, timeout=20, **({"context": context} if secure else {}))
    if body is not None:
        body, headers = json.dumps(body), {"Content-Type": "application/json", **headers}
    connection.request(method, path, body, headers)
    if secure:
        shown = connection.sock.getpeercert(binary_form=True)
        told["certificate"] = "sha256:" + hashlib.sha256(shown).hexdigest()
    answer = connection.getresponse()
    told[name] = [answer.status, answer.getheader("Location"), answer.getheader("Set-Cookie")]
    return answer.read()
login = {"user": "admin", "password": password}
ask("plain read", False, "GET", "/api/v1/health")
ask("plain login", False, "POST", "/api/v1/login", login)
ask("read", True, "GET", "/api/v1/health")
ask("closed", True, "GET", "/api/v1/cameras")
ask("console", True, "GET", "/")
token = json.loads(ask("login", True, "POST", "/api/v1/login", login))["token"]
ask("open", True, "GET", "/api/v1/cameras", headers={"Authorization": "Bearer " + token})
print(json.dumps(told))
"#;

#[test]
fn another_machine_is_served_over_tls_only() {
    if !namespaces() {
        return;
    }
    let _machine = shared();
    let (network, Scene { site: _site, cameras: _cameras, node, .. }) =
        Scene::start_apart("[::]:8443").unwrap();
    let told =
        network.camera.run(["python3", "-c", CLIENT, Network::RECORDER, "8443", Node::PASSWORD]).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let status = |name: &str| told[name][0].as_u64().unwrap();
    let location = format!("https://{}:8443/api/v1/health", Network::RECORDER);
    assert_eq!(told["plain read"], json!([308, location, null]));
    assert_eq!(told["plain login"], json!([400, null, null]));
    assert_eq!([status("read"), status("closed"), status("open"), status("console")], [200, 401, 200, 200]);
    let cookie = told["login"][2].as_str().unwrap();
    assert!(cookie.starts_with("__Host-keepwatch_session=") && cookie.contains("Secure"), "{cookie}");
    let shown = node.http().get("/api/v1/status").unwrap();
    assert_eq!(shown["certificate"], told["certificate"]);
    // The refused login over plain HTTP reached nothing that could have noted it.
    let audited = node.http().get("/api/v1/audit").unwrap();
    let actions: Vec<_> = audited["items"].as_array().unwrap().iter().map(|line| &line["action"]).collect();
    assert_eq!(actions, [&json!("logged_in")]);
    node.end().unwrap();
}
