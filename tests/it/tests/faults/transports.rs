//! Media that find no way: a transport that the camera refuses, and datagrams that never come although `PLAY` was granted.

use std::time::Duration;

use keepwatch_it::{Cameras, Node, Site, wait_until};
use serde_json::{Value, json};

use crate::{reconfigure, shared};

/// A camera that is silent is hung up after 12 s, and dialled anew.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a camera is as it should be.
fn wait_for(node: &Node, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let waited = wait_until(&format!("{id}: {what}"), PATIENCE, || {
        let camera = node.camera(id)?;
        Ok(is_so(&camera).then_some(camera))
    });
    waited.unwrap_or_else(|error| panic!("{error:#}: {}", node.camera(id).unwrap()))
}

fn recorded_over(camera: &Value, transport: &str) -> bool {
    camera["recording"] == true && camera["streams"][0]["transport"] == transport
}

#[test]
fn a_camera_is_recorded_over_the_transport_that_works_and_the_reason_is_told_where_none_does() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 5, "127.0.0.1").unwrap();
    let [only_udp, only_tcp, refused, unheard, blocked] = ["cam1", "cam2", "cam3", "cam4", "cam5"];
    let command = |id: &str, mut fault: Value| {
        fault["camera"] = json!(id);
        cameras.command(&fault).unwrap();
    };
    let accept = |id, transport| command(id, json!({"fault": "transport", "accept": transport}));
    let lose = |id, every| command(id, json!({"fault": "udp_loss", "every": every}));
    accept(only_udp, "udp");
    accept(only_tcp, "tcp");
    accept(refused, "tcp");
    lose(unheard, 1);
    accept(blocked, "udp");
    lose(blocked, 1);
    let listed: Vec<_> = cameras.ids().iter().map(|id| (id.as_str(), cameras.url(id))).collect();
    Node::configure(&site, "127.0.0.1:0", &listed).unwrap();
    for id in [refused, unheard] {
        reconfigure(&site, &format!("id = \"{id}\"\n"), &format!("id = \"{id}\"\ntransport = \"udp\"\n"));
    }
    let node = Node::start(&site).unwrap();

    // 461, both ways.
    wait_for(&node, only_udp, "recorded over UDP", |camera| recorded_over(camera, "udp"));
    wait_for(&node, only_tcp, "recorded over TCP", |camera| recorded_over(camera, "tcp"));
    let camera = wait_for(&node, refused, "refused", |camera| camera["reason"] == "connection_refused");
    assert!(camera["detail"].as_str().is_some_and(|detail| detail.contains("this way")), "{camera}");

    // Datagrams that never come are no camera that hangs: who reads it must think of the firewall.
    for id in [unheard, blocked] {
        let camera = wait_for(&node, id, "silent", |camera| camera["reason"] == "camera_silent");
        assert!(camera["detail"].as_str().is_some_and(|detail| detail.contains("UDP")), "{camera}");
    }
    let events = node.events().unwrap();
    let told = |id: &str| {
        events.iter().any(|event| {
            event["subject"].to_string().contains(&format!("\"{id}\""))
                && event["text"].to_string().contains("firewall")
        })
    };
    assert!(told(unheard) && told(blocked) && !told(refused), "{events:?}");

    // One of them can be had over TCP from here on, and the other's firewall is opened.
    accept(blocked, "any");
    lose(unheard, 0);
    wait_for(&node, blocked, "recorded over TCP", |camera| recorded_over(camera, "tcp"));
    wait_for(&node, unheard, "recorded over UDP", |camera| recorded_over(camera, "udp"));
    node.end().unwrap();
}
