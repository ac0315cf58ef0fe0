//! Who may watch what over RTSP: every address, by everybody, by digest; and what a session of somebody else is worth.

use std::time::Duration;

use keepwatch_it::{Cameras, Node, Rtsp, Said, Site, wait_until};
use keepwatch_model::TICKS_PER_SECOND;

use crate::{reconfigure, shared};

const PATIENCE: Duration = Duration::from_secs(60);
/// How soon a stream ends whose right is taken away.
const MOMENT: Duration = Duration::from_secs(10);
/// Name, password, and the cameras of the list.
const USERS: [(&str, &str, &str); 3] = [
    ("guard", "first secret", "\"vault\""),
    ("other", "second secret", "\"yard\""),
    ("chief", "third secret", "\"*\""),
];

/// A node that records two cameras, one with a sub stream, with its users; where it serves them.
fn node(site: &Site, cameras: &Cameras) -> (Node, String) {
    let listed = [("vault", cameras.url("cam1")), ("yard", cameras.url("cam2"))];
    Node::configure(site, "127.0.0.1:0", &listed).unwrap();
    reconfigure(site, "[node]", "[node]\nrtsp_listen = \"127.0.0.1:0\"");
    let sub = format!("id = \"vault\"\nsub_url = \"{}/sub\"\n", cameras.url("cam1"));
    reconfigure(site, "id = \"vault\"\n", &sub);
    let mut users = String::new();
    for (name, password, list) in USERS {
        std::fs::write(site.path().join(format!("{name}.password")), format!("{password}\n")).unwrap();
        let file = format!("password_file = \"{name}.password\"");
        users.push_str(&format!("\n[[rtsp_user]]\nuser = \"{name}\"\n{file}\ncameras = [{list}]\n"));
    }
    reconfigure(site, "\n[[disk]]", &format!("{users}\n[[disk]]"));
    let node = Node::start(site).unwrap();
    let from = node.first_label("vault").unwrap();
    node.wait_durable("vault", from.plus(2 * TICKS_PER_SECOND), PATIENCE).unwrap();
    let address = wait_until("the RTSP server", PATIENCE, || {
        let status = node.http().get("/api/v1/status")?;
        Ok(status["rtsp"]["listening"][0].as_str().map(str::to_owned))
    })
    .unwrap();
    (node, address)
}

fn connect(address: &str, name: &str) -> Rtsp {
    let (_, password, _) = USERS.into_iter().find(|(user, ..)| *user == name).unwrap();
    Rtsp::connect(address, Some((name, password))).unwrap()
}

#[test]
fn every_rtsp_address_plays_for_who_may_watch_its_camera_and_is_absent_for_others() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 2, "127.0.0.1").unwrap();
    let (node, address) = node(&site, &cameras);
    let from = node.first_label("vault").unwrap();
    let time = from.to_string().replace(['-', ':'], "");
    let ends = ["", "/sub", "/recorded", "/sub/recorded", &format!("/recorded/{time}")].map(str::to_owned);
    let wrong = [None, Some(("guard", "second secret")), Some(("admin", Node::PASSWORD)), Some(("", ""))];
    let without_session =
        ["DESCRIBE", "SETUP", "PLAY", "PAUSE", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN"];
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    for end in &ends {
        let path = format!("/vault{end}");
        // Nobody, and who shows what does not hold here.
        for user in wrong {
            for method in without_session {
                let said =
                    Rtsp::connect(&address, user).unwrap().ask_once(method, &path, &transport).unwrap();
                assert_eq!(said.status, 401, "{method} {path} by {user:?}");
            }
        }
        // Who may watch another camera, whatever way of writing the address they find.
        for written in [path.clone(), format!("{path}/"), format!("{path}?x=1"), format!("{path}/trackID=0")]
        {
            let ask = |method: &str, path: &str| -> Said {
                connect(&address, "other").ask(method, path, &transport).unwrap()
            };
            for method in ["DESCRIBE", "SETUP"] {
                let said = ask(method, &written);
                assert_eq!(said.status, 404, "{method} {written}: {said:?}");
                let unknown = ask(method, &written.replace("vault", "fault"));
                assert_eq!(said.comparable(), unknown.comparable(), "{method} {written}");
            }
        }
        for name in ["guard", "chief"] {
            let described = connect(&address, name).ask("DESCRIBE", &path, &[]).unwrap();
            assert_eq!(described.status, 200, "{path} by {name}: {described:?}");
            let mut player = connect(&address, name);
            let [set_up, played] = player.play(&path).unwrap();
            assert_eq!([set_up.status, played.status], [200, 200], "{path} by {name}: {set_up:?} {played:?}");
            player.packets(5).unwrap();
        }
    }
    for written in ["/yard/../vault", "//vault", "/%76ault", "/VAULT", "/yard%2f..%2fvault", "/vault%00", "*"]
    {
        let said = connect(&address, "other").ask("DESCRIBE", written, &[]).unwrap();
        assert_eq!(said.status, 404, "{written}: {said:?}");
    }
    node.end().unwrap();
}

#[test]
fn a_session_and_an_answered_challenge_are_worth_nothing_to_others() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 2, "127.0.0.1").unwrap();
    let (mut node, address) = node(&site, &cameras);
    let mut guard = connect(&address, "guard");
    let [set_up, _] = guard.play("/vault").unwrap();
    guard.packets(5).unwrap();
    let session = set_up.header("session").unwrap().split(';').next().unwrap().to_owned();

    // Another user, on a connection of their own, with the number of the session; and the same user.
    for name in ["other", "guard"] {
        for method in ["PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SETUP"] {
            let headers =
                [("Session", session.as_str()), ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
            let said = connect(&address, name).ask(method, "/vault", &headers).unwrap();
            assert_eq!(said.status, 454, "{method} by {name}: {said:?}");
        }
    }
    guard.packets(50).unwrap();

    // Another camera, within a session of one's own.
    let mut other = connect(&address, "other");
    let [set_up, _] = other.play("/yard").unwrap();
    let own = set_up.header("session").unwrap().split(';').next().unwrap().to_owned();
    let transport = "RTP/AVP/TCP;unicast;interleaved=2-3";
    let said =
        other.ask("SETUP", "/vault/trackID=1", &[("Session", &own), ("Transport", transport)]).unwrap();
    assert!((400..500).contains(&said.status), "{said:?}");

    // What was overheard of a login: it answers the number of that connection and no other.
    let overheard = guard.authorization("DESCRIBE", "/vault").unwrap();
    let mut thief = Rtsp::connect(&address, None).unwrap();
    let said = thief.ask("DESCRIBE", "/vault", &[("Authorization", &overheard)]).unwrap();
    assert_eq!(said.status, 401, "{said:?}");
    // And for its own address only, also where the number holds.
    let mut chief = connect(&address, "chief");
    assert_eq!(chief.ask("DESCRIBE", "/yard", &[]).unwrap().status, 200);
    let for_yard = chief.authorization("DESCRIBE", "/yard").unwrap();
    let mut chief = chief.without_login();
    let said = chief.ask("DESCRIBE", "/vault", &[("Authorization", &for_yard)]).unwrap();
    assert_eq!(said.status, 401, "{said:?}");

    // The list is changed: what guard watches ends, live and recorded; what chief watches goes on.
    let mut recorded = connect(&address, "guard");
    let [_, played] = recorded.play("/vault/recorded").unwrap();
    assert_eq!(played.status, 200);
    recorded.packets(5).unwrap();
    let mut kept = connect(&address, "chief");
    kept.play("/vault").unwrap();
    reconfigure(&site, "cameras = [\"vault\"]", "cameras = [\"yard\"]");
    node.program().signal(libc::SIGHUP);
    guard.packets_until_end(MOMENT).unwrap();
    recorded.packets_until_end(MOMENT).unwrap();
    kept.packets(100).unwrap();
    assert_eq!(connect(&address, "guard").ask("DESCRIBE", "/vault", &[]).unwrap().status, 404);
    node.end().unwrap();
}
