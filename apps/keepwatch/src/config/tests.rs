//! What a file says, and what is said of a file that is wrong.

use std::os::unix::fs::PermissionsExt;

use keepwatch_recorder::config::camera::CameraDraft;
use keepwatch_recorder::config::{
    AlarmConfig, CameraSource, DiskConfig, MediaTransport, Trigger, WeeklySpan,
};
use proptest::prelude::*;

use super::*;

const REFERENCE: &str = include_str!("../../../../docs/ref/keepwatch.toml");

/// The smallest file without a problem, to which tests add.
const LEAST: &str = "[[disk]]\npath = \"d\"\n[[camera]]\nid = \"a\"\nurl = \"rtsp://h/s\"\n";

fn read(text: &str) -> Loaded {
    parse(text, Path::new("/etc/keepwatch"))
}

/// The messages on `text`, without the name of the file.
fn complaints(text: &str) -> Vec<String> {
    let shown = read(text).report.show(Path::new("F")).to_string();
    shown.lines().map(|line| line.strip_prefix("F:").unwrap_or(line).trim_start().to_owned()).collect()
}

#[test]
fn the_reference_shows_the_defaults() {
    let loaded = read(REFERENCE);
    assert!(loaded.report.is_empty(), "{}", loaded.report.show(Path::new("keepwatch.toml")));
    let ConfigFile { node, disks, recorder, standby, edge, cameras, rtsp_users } = loaded.file;
    assert!(rtsp_users.is_empty());
    assert_eq!(node, NodeTable::default());
    assert_eq!(recorder, RecorderTable::default());
    assert_eq!(standby, StandbyTable::default());
    assert_eq!(edge, EdgeTable::default());
    let least = read(LEAST).file;
    let [disk] = &disks[..] else { panic!("one disk") };
    assert_eq!(DiskTable { path: disk.path.clone(), ..least.disks[0].clone() }, *disk);
    let [camera] = &cameras[..] else { panic!("one camera") };
    let CameraDraft { id, source, .. } = camera.draft.clone();
    assert_eq!(CameraDraft { id, source, ..least.cameras[0].draft.clone() }, camera.draft);
}

#[test]
fn the_examples_of_the_reference_are_right_and_no_key_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["gate.password", "lun.password", "nas.password"] {
        let secret = directory.path().join(file);
        std::fs::write(&secret, "p\n").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    for file in ["tls.pem", "tls-key.pem"] {
        std::fs::write(directory.path().join(file), "").unwrap();
    }
    let text = REFERENCE.replace("#: ", "");
    let loaded = parse(&text, directory.path());
    assert!(loaded.report.is_empty(), "{}", loaded.report.show(Path::new("keepwatch.toml")));
    // Every key that is known is named in a complaint about one that is not.
    let unknown = "[node]\nzzzzzz=1\n[[disk]]\nzzzzzz=1\n[recorder]\nzzzzzz=1\n[standby]\nzzzzzz=1\n[edge]\nzzzzzz=1\n[[edge.disk]]\nzzzzzz=1\n[[camera]]\nurl=\"rtsp://h\"\nzzzzzz=1\n\
        [[rtsp_user]]\nzzzzzz=1\n";
    let keys: Vec<String> = complaints(unknown)
        .iter()
        .filter_map(|line| line.split_once("the keys here are "))
        .flat_map(|(_, keys)| keys.split(", ").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(keys.len(), 75, "{keys:?}");
    for key in keys {
        assert!(
            text.lines().any(|line| {
                line.starts_with(&format!("{key} = ")) || line.ends_with(&format!(".{key}]]"))
            }),
            "{key} is not in the reference"
        );
    }
}

#[test]
fn a_full_file_becomes_what_the_recorder_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("p w");
    std::fs::write(&secret, "s3cret\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = r#"
[node]
name = "north"
data = "data dir"
listen = ["127.0.0.1:0", "[::1]:8081"]
rtsp_listen = "[::]:8554"
rtsps_listen = ["[::]:8322"]
[[disk]]
path = "/mnt/a"
size = "500 GiB"
[[disk]]
path = "b"
[recorder]
retention = "30 days"
buffer = "64 MiB"
backfill_rate = "50 Mbit/s"
backfill_cards = true
[standby]
check_interval = "500 ms"
setup_backup_interval = "1 h"
auto_failover_threshold = 5
cameras_max = 7
bandwidth_max = "40 Mbit/s"
prebuffer_max = "64 MiB"
coordinator = "192.0.2.8:8443"
drill_every = "1 week"
[[camera]]
id = "gate"
name = "Gate"
url = "rtsps://[2001:db8::1]:8554/live?x=1"
sub_url = "rtsp://[2001:db8::1]:8554/live?x=2"
user = "u"
password_file = "p w"
transport = "udp"
certificate = "SHA256:0A:FF:0a:ff:0a:ff:0a:ff:0a:ff:0a:ff:0a:ff:0a:ff:0a:ff:0a:ff:0a:ff:0a:ff:0a:ff:0a:ff:0a:ff:0a:ff"
audio = false
metadata = true
retention = "1 week"
schedule = "mon 07:00-19:00"
recording = "alarm"
pre_alarm = "5 s"
alarm_on = ["motion", "tns1:Device/tns1:Trigger", "motion"]
[[camera]]
id = "yard"
url = "rtsp://u%40x:p%3Aw@h/s"
[[camera]]
id = "shop"
onvif = "https://192.0.2.11:8443/onvif/device_service"
sub = true
events = false
[[rtsp_user]]
user = "guard"
password_file = "p w"
cameras = ["gate", "shop"]
[[rtsp_user]]
user = "chief"
password_file = "p w"
cameras = "*"
"#;
    let loaded = parse(text, directory.path());
    let shown = loaded.report.show(Path::new("F")).to_string();
    assert!(shown.starts_with("F:45:7: warning: the url holds a password"), "{shown}");
    assert_eq!(shown.lines().count(), 1, "{shown}");
    let NodeConfig { recorder, replenish, standby, listen, .. } = loaded.node;
    let filled = ReplenishSettings { paused: false, bits_per_second_max: Some(50_000_000), cards: true };
    assert_eq!(replenish, filled);
    assert_eq!(listen, ["127.0.0.1:0".parse().unwrap(), "[::1]:8081".parse().unwrap()]);
    assert_eq!(recorder.name, "north");
    assert_eq!(recorder.data, directory.path().join("data dir"));
    assert_eq!(
        recorder.disks,
        [
            DiskConfig { size_bytes: Some(500 << 30), ..DiskConfig::new("/mnt/a") },
            DiskConfig { size_bytes: None, ..DiskConfig::new(directory.path().join("b")) },
        ]
    );
    assert_eq!(recorder.retention, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(recorder.buffer_bytes_max, 64 << 20);
    assert_eq!(standby.setup.check_interval(), Duration::from_millis(500));
    assert_eq!(standby.setup.setup_backup_interval(), Duration::from_secs(3600));
    assert_eq!(standby.setup.auto_failover_threshold(), 5);
    assert_eq!(standby.coordinator.as_deref(), Some("192.0.2.8:8443"));
    assert_eq!((standby.limits.cameras, standby.limits.bits_per_second), (Some(7), Some(40_000_000)));
    assert_eq!(standby.prebuffer_bytes_max, 64 << 20);
    assert_eq!(standby.drill_every, Some(Duration::from_secs(7 * 86_400)));
    let [gate, yard, shop] = &recorder.cameras[..] else { panic!("three cameras") };
    assert_eq!(gate.id.as_str(), "gate");
    assert_eq!(gate.name, "Gate");
    let source = |url: &str, sub_url: Option<&str>| CameraSource::Rtsp {
        url: url.parse().unwrap(),
        sub_url: sub_url.map(|url| url.parse().unwrap()),
    };
    let both = source("rtsps://[2001:db8::1]:8554/live?x=1", Some("rtsp://[2001:db8::1]:8554/live?x=2"));
    assert_eq!(gate.source, both);
    assert_eq!(gate.transport, MediaTransport::Udp);
    assert_eq!(gate.certificate.unwrap().to_string(), format!("sha256:{}", "0aff".repeat(16)));
    assert!(gate.metadata && !yard.metadata);
    let url = "https://192.0.2.11:8443/onvif/device_service".parse().unwrap();
    assert_eq!(shop.source, CameraSource::Onvif { url, sub: true, events: false });
    assert_eq!(recorder.rtsp.listen, ["[::]:8554".parse().unwrap()]);
    assert_eq!(recorder.rtsp.listen_tls, ["[::]:8322".parse().unwrap()]);
    let [guard, chief] = &recorder.rtsp.users[..] else { panic!("two users") };
    assert_eq!((guard.user.as_str(), guard.password.expose()), ("guard", "s3cret"));
    assert!(guard.cameras.contains(gate.id) && !guard.cameras.contains(yard.id));
    assert!(chief.cameras.contains(yard.id));
    assert_eq!(gate.user.as_deref(), Some("u"));
    assert_eq!(gate.password.as_ref().map(|password| password.expose()), Some("s3cret"));
    assert!(!gate.audio);
    assert_eq!(gate.retention, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(gate.schedule, [WeeklySpan { from_minute: 420, to_minute: 1140 }]);
    assert_eq!(yard.name, "yard");
    assert_eq!(yard.source, source("rtsp://h/s", None));
    assert_eq!((yard.transport, yard.certificate), (MediaTransport::Auto, None));
    assert_eq!(yard.user.as_deref(), Some("u@x"));
    assert_eq!(yard.password.as_ref().map(|password| password.expose()), Some("p:w"));
    let on = vec![Trigger::Motion, Trigger::Topic("Device/Trigger".to_owned())];
    assert_eq!(gate.alarm, Some(AlarmConfig { pre: Duration::from_secs(5), on, ..AlarmConfig::default() }));
    assert_eq!(yard.alarm, None);
    assert!(yard.audio && yard.retention.is_none() && yard.schedule.is_empty());
    let debug = format!("{recorder:?} {:?}", loaded.file);
    assert!(!debug.contains("s3cret") && !debug.contains("p:w"), "{debug}");
}

#[test]
fn every_mistake_is_told_with_its_place_and_a_remedy() {
    let table = [
        (
            "[recorder]\nretantion = \"1 h\"",
            "7:1: unknown key \"retantion\" in [recorder]; did you mean \"retention\"?",
        ),
        ("[[camara]]", "6:3: unknown key \"camara\"; did you mean \"camera\"?"),
        (
            "[recorder]\nretention = \"30\"",
            "7:13: \"30\" has no unit; write a number and one of ms, s, min, h, days, weeks, like \"30 days\"",
        ),
        (
            "[recorder]\nretention = 30",
            "7:13: retention is a number without a unit or quotation marks; write a text in quotation marks",
        ),
        (
            "[recorder]\nretention = \"30 GiB\"",
            "7:13: \"30 GiB\" has no unit of duration; write a number and one of ms, s, min, h, days, weeks, like \"30 days\"",
        ),
        (
            "[recorder]\nretention = \"1 s\"",
            "7:13: \"1 s\" is too little; write at least \"1 min\", or leave retention out to keep footage until space runs out",
        ),
        ("[recorder]\nbuffer = \"1 gib\"", "7:10: \"1 gib\" has no unit of size; did you mean \"1 GiB\"?"),
        ("[recorder]\nbuffer = \"1 MiB\"", "7:10: \"1 MiB\" is too little; write at least \"16 MiB\""),
        (
            "[node]\nlisten = \"localhost:8080\"",
            "7:10: \"localhost:8080\" is not an address with a port; write numbers like \"[::]:8443\" or \"192.0.2.1:8443\"",
        ),
        ("[node]\nlisten = []", "7:10: listen is an empty list; leave listen out for the usual address"),
        ("[node]\ndata = \"\"", "7:8: \"\" is no path; write a path like \"/srv/footage\""),
        (
            "[node]\nname = \"a\\nb\"",
            "7:8: \"a\\nb\" cannot be a name; write 1 to 100 characters on one line",
        ),
        (
            "[[disk]]\npath = \"d\"",
            "7:8: disk \"/etc/keepwatch/d\" is already used on line 2; every entry needs one of its own",
        ),
        (
            "[[disk]]\npath = \"e\"\nsize = \"500\"",
            "8:8: \"500\" has no unit; write a number and one of MiB, GiB, TiB, MB, GB, TB, like \"4 GiB\"",
        ),
        (
            "[[disk]]\nsize = \"500 GB\"",
            "6:1: [[disk]] has no path; add the directory or the block device that keeps the footage",
        ),
        (
            "[[disk]]\npath = \"e\"\nrole = \"spare\"",
            "8:8: \"spare\" is not a role of a disk; write \"recordings\", \"edge\" or \"second\", or leave role out",
        ),
        (
            "[[camera]]\nid = \"a\"\nurl = \"rtsp://h/t\"",
            "7:6: camera id \"a\" is already used on line 4; every entry needs one of its own",
        ),
        (
            "[[camera]]\nid = \"Gate 1\"\nurl = \"rtsp://h/t\"",
            "7:6: \"Gate 1\" cannot be a camera id; use 1 to 31 of a-z 0-9 . _ - and begin with a letter or digit",
        ),
        (
            "[[camera]]\nurl = \"rtsp://h/t\"",
            "6:1: [[camera]] has no id; add one of its own, like id = \"gate\"",
        ),
        (
            "[[camera]]\nid = \"b\"",
            "6:1: [[camera]] has no url; add the address of its stream, like url = \"rtsp://192.0.2.10/stream\", or of the camera, like onvif = \"http://192.0.2.10\", or the edge node that records it, like edge = \"box\"",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"http://u:secret@h/t\"",
            "8:7: http:// cannot be recorded; write an address like \"rtsp://192.0.2.10/stream\" or \"rtsp://[2001:db8::10]:554/stream\"",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"h/secret\"",
            "8:7: the url is not valid: relative URL without a base; write an address like \"rtsp://192.0.2.10/stream\" or \"rtsp://[2001:db8::10]:554/stream\"",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://u@h\"\nuser = \"v\"",
            "9:8: the user stands here and in the url; take the user and password out of the url",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\nonvif = \"http://h\"",
            "9:9: the camera has a url and an onvif address; take one out: an onvif camera says where its streams are",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\nsub = true",
            "9:7: sub is for a camera with an onvif address; write sub_url = \"rtsp://...\" instead",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\nevents = true",
            "9:10: events is for a camera with an onvif address; give the camera by onvif = \"http://...\", or take it out",
        ),
        (
            "[[camera]]\nid = \"b\"\nonvif = \"http://h\"\nsub_url = \"rtsp://h/2\"",
            "9:11: sub_url is for a camera with a url; write sub = true: the camera says where its sub stream is",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h/1\"\nsub_url = \"rtsp://h/1\"",
            "9:11: sub_url is the same as url; write the address of the smaller stream",
        ),
        (
            "[[disk]]\npath = \"iscsi://u:secret@h/iqn.a:b/1\"",
            "7:8: an address has no password: write it into a file and name that as password_file; write it like iscsi://192.0.2.9/iqn.2024-07.internal.site:nas/1",
        ),
        (
            "[[disk]]\npath = \"iscsi://u@h/iqn.a:b/1\"",
            "7:8: the LUN has a user and no password; add password_file, or take the user out of path",
        ),
        (
            "[[disk]]\npath = \"/mnt/c\"\npassword_file = \"none\"",
            "8:17: password_file is for a LUN whose address has a user; write the user into path, like iscsi://edge@192.0.2.9/iqn.2024-07.internal.site:nas/1",
        ),
        (
            "[[disk]]\npath = \"/mnt/c\"\ntake_over = true\nread_only = true",
            "7:8: the disk is to be taken over and to be read only; take take_over or read_only out",
        ),
        (
            "[[disk]]\npath = \"iscsi://h/iqn.a:b/1\"\ntarget_user = \"nas\"",
            "8:15: target_user has no password; add target_password_file, or take target_user out",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h/1\"\nsub_url = \"rtsp://u:secret@h/2\"",
            "9:11: the sub_url holds a login of its own; take it out: one user and one password_file hold for both streams",
        ),
        (
            "[[camera]]\nid = \"b\"\nonvif = \"rtsp://u:secret@h\"",
            "8:9: rtsp:// cannot be recorded; write an address like \"http://192.0.2.10\" or \"https://192.0.2.10:8443\"",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\nrecording = \"sometimes\"",
            "9:13: \"sometimes\" is no way to record; write \"continuous\" or \"alarm\"",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\npre_alarm = \"5 s\"",
            "9:13: pre_alarm is for a camera that is recorded on alarm; write recording = \"alarm\", or take it out",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\nrecording = \"alarm\"\nalarm_on = [\"api\", \"noise\"]",
            "10:20: \"noise\" triggers no alarm; write \"motion\", \"object\", \"input\", \"tamper\", \"signal_loss\", \"api\", or a topic of the camera like \"RuleEngine/LineDetector/Crossed\"",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\nrecording = \"alarm\"\nalarm_on = \"motion\"",
            "10:12: nothing of what the camera notices is heard; give the camera by onvif = \"http://...\", or set metadata = true, or write alarm_on = [\"api\"]",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\ntransport = \"multicast\"",
            "9:13: \"multicast\" is not a transport; write \"auto\", \"tcp\" or \"udp\"",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsps://h\"\ncertificate = \"sha256:12\"",
            "9:15: \"sha256:12\" is no fingerprint: a certificate is pinned as sha256: and 64 hexadecimal digits; keepwatch status --json shows the one that the camera has, like \"sha256:0a1b...\"",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\ncertificate = \"sha256:0aff0aff0aff0aff0aff0aff0aff0aff0aff0aff0aff0aff0aff0aff0aff0aff\"",
            "9:15: a camera shows no certificate at an address without TLS; write rtsps:// or https:// where it can, or leave certificate out",
        ),
        (
            "[node]\nrtsp_listen = \"8554\"",
            "7:15: \"8554\" is not an address with a port; write numbers like \"[::]:8554\" or \"192.0.2.1:554\"",
        ),
        (
            "[node]\nrtsp_listen = \"[::]:8554\"",
            "warning: nobody can log in to the RTSP server, because there is no [[rtsp_user]]; add one with user, password_file and cameras, or take rtsp_listen and rtsps_listen out",
        ),
        (
            "[[rtsp_user]]\nuser = \"a:b\"\npassword_file = \"none\"\ncameras = [\"a\"]",
            "7:8: \"a:b\" cannot be the name of a user; write 1 to 64 characters without : \" and \\",
        ),
        (
            "[[camera]]\nid = \"b\"\nedge = \"box\"\nurl = \"rtsp://h\"",
            "9:7: url is for a camera that this recorder receives; set it at the edge node, which records the camera, or take edge out",
        ),
        (
            "[[camera]]\nid = \"b\"\nedge = \"box/Cam 1\"",
            "8:8: \"Cam 1\" cannot be a camera id; use 1 to 31 of a-z 0-9 . _ - and begin with a letter or digit",
        ),
        (
            "[edge]\ndelay = \"100 s\"\ndelay_max = \"101 s\"",
            "8:13: delay_max is not 5 s more than delay; leave both out, or write like delay = \"100 s\", delay_max = \"120 s\"",
        ),
        (
            "[edge]\nwrite_rate_min = \"9 Mbit/s\"\nwrite_rate_max = \"8 Mbit/s\"",
            "7:18: write_rate_min is more than write_rate_max; write equal ones to fix it",
        ),
        (
            "[edge]\nspeed = 100",
            "7:9: at a speed of 100 % what was left out never leaves, as the newest takes all of it, and is overwritten when local \
             storage is full; set more than 100 %, or confirm it with accept_never_depletes = true in [edge]",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\nedge_speed = 0",
            "9:14: at a speed of 0 % nothing leaves: local storage fills, and then overwrites what is not outside; set more than \
             100 %, or confirm it with accept_never_depletes = true in [edge]",
        ),
        (
            "[[edge.disk]]\npath = \"/x\"\nrole = \"edge\"",
            "8:1: unknown key \"role\" in [[edge.disk]]; the keys here are path, size, take_over, password_file, target_user, target_password_file",
        ),
        (
            "[[edge.disk]]\npath = \"d\"",
            "7:8: disk \"/etc/keepwatch/d\" is already used on line 2; every entry needs one of its own",
        ),
        (
            "[edge]\nwarning = 50",
            "6:1: all_clear is not below warning; write like warning = 90, all_clear = 50",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\naudio = \"yes\"",
            "9:9: audio is a text; write true or false",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\npassword = \"x\"",
            "9:1: unknown key \"password\" in [[camera]]; did you mean \"password_file\"?",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\nuser = \"u\"\npassword_file = \"none\"",
            "10:17: /etc/keepwatch/none cannot be read: No such file or directory (os error 2); create it with the camera's password",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\nschedule = [\"mon 7-19\"]",
            "9:13: \"mon 7-19\" holds no time \"7\"; write days and times like \"mon-fri 07:00-19:00\", \"sat,sun 00:00-24:00\" or \"daily 22:00-06:00\"",
        ),
        (
            "[[camera]]\nid = \"b\"\nurl = \"rtsp://h\"\nschedule = []",
            "9:12: schedule is an empty list; leave schedule out to record always",
        ),
    ];
    for (added, expected) in table {
        assert_eq!(complaints(&format!("{LEAST}{added}\n")), [expected], "{added}");
    }
}

/// Users of the RTSP server are checked against the cameras and against each other.
#[test]
fn an_rtsp_user_watches_cameras_that_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("p");
    std::fs::write(&secret, "x\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let user =
        |cameras: &str| format!("[[rtsp_user]]\nuser = \"g\"\npassword_file = \"p\"\ncameras = {cameras}\n");
    for (added, expected) in [
        (
            user("[\"a\", \"z\"]"),
            vec![
                "F:9:17: warning: there is no camera \"z\" in this file; write the id of a [[camera]], or of a camera that is \
                 added in the console",
            ],
        ),
        (
            user("[]"),
            vec!["F:9:11: cameras is an empty list; write [\"*\"] for all cameras, or take the user out"],
        ),
        (
            user("\"a\"") + &user("\"*\""),
            vec!["F:11:8: the user \"g\" is already on line 7; give each user one [[rtsp_user]]"],
        ),
        (user("\"a\""), vec![]),
    ] {
        let text = format!("{LEAST}{added}[node]\nrtsp_listen = \"[::1]:0\"\n");
        let shown = parse(&text, directory.path()).report.show(Path::new("F")).to_string();
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected, "{added}");
    }
    let shown =
        parse(&format!("{LEAST}{}", user("\"a\"")), directory.path()).report.show(Path::new("F")).to_string();
    assert!(shown.starts_with("F:7:8: warning: nobody can watch over RTSP"), "{shown}");
}

#[test]
fn no_address_is_listened_on_twice() {
    for (node, expected) in [
        (
            "rtsp_listen = [\"[::]:8554\", \"[::]:8322\"]\nrtsps_listen = \"[::]:8322\"",
            "8:16: address \"[::]:8322\" is already that on line 7; give one of them another",
        ),
        (
            "rtsp_listen = \"[::]:8443\"",
            "7:15: address \"[::]:8443\" is already that of the HTTP server; give one of them another, by listen or here",
        ),
        (
            "rtsp_listen = \"[::1]:8443\"",
            "7:15: address \"[::1]:8443\" and \"[::]:8443\" of the HTTP server have addresses in common; give one of them another port, by listen or here",
        ),
        (
            "listen = \"127.0.0.1:8554\"\nrtsp_listen = \"127.0.0.1:8554\"",
            "8:15: address \"127.0.0.1:8554\" is already that on line 7; give one of them another",
        ),
        (
            "listen = \"[::]:8554\"\nrtsp_listen = \"[::1]:8554\"",
            "8:15: address \"[::1]:8554\" and \"[::]:8554\" on line 7 have addresses in common; give one of them another port",
        ),
    ] {
        let mut told = complaints(&format!("{LEAST}[node]\n{node}\n"));
        told.retain(|line| !line.starts_with("warning: nobody can log in"));
        assert_eq!(told, [expected], "{node}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = "[node]\nlisten = 1\nnmae = \"x\"\n[disk]\npath = 5\n[[camera]]\nid = 7\nurl = \"rtsp://h\"\n[more]\n";
    let lines = complaints(text);
    let starts: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(starts, ["2:10:", "3:1:", "4:1:", "5:8:", "7:6:", "9:2:"], "{lines:?}");
    assert!(lines[2].starts_with("4:1: [disk] has one pair of brackets; write [[disk]]"), "{lines:?}");
}

#[test]
fn broken_toml_is_told_with_its_place() {
    for (text, start) in [
        ("[node\n", "1:"),
        ("[node]\nname = \n", "2:"),
        ("[node]\nname = \"a\"\nname = \"b\"\n", "3:1: duplicate key"),
        ("[node]\nname = \"äöü\" x\n", "2:14:"),
    ] {
        let lines = complaints(text);
        assert!(lines[0].starts_with(start) && lines[0].contains("; "), "{text:?}: {lines:?}");
    }
}

#[test]
fn an_empty_file_lacks_a_disk_and_a_camera() {
    let lines = complaints("");
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("there is no [[disk]]; add one"), "{lines:?}");
    assert!(lines[1].starts_with("warning: there is no [[camera]]"), "{lines:?}");
    // An empty list says that cameras are added in the console, which is warned of all the same.
    let lines = complaints("camera = []\n[[disk]]\npath = \"d\"\n");
    assert!(lines.len() == 1 && lines[0].starts_with("warning: there is no [[camera]]"), "{lines:?}");
}

#[test]
fn a_file_that_is_no_text_or_not_there_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("k.toml");
    let error = load(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("k.toml: cannot be read: No such file"), "{error}");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    let error = load(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.ends_with("k.toml: is not UTF-8 text; save it as UTF-8"), "{error}");
}

#[test]
fn a_password_that_others_can_read_is_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("p");
    let text = format!("{LEAST}user = \"u\"\npassword_file = \"p\"\n");
    for (content, mode, part) in [
        ("x\n", 0o644, "warning: "),
        ("", 0o600, "does not hold one line"),
        ("a\nb\n", 0o600, "does not hold one line"),
        (&"x".repeat(2000), 0o600, "is longer than 1024 bytes"),
    ] {
        std::fs::write(&secret, content).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
        let shown = parse(&text, directory.path()).report.show(Path::new("F")).to_string();
        assert!(shown.starts_with("F:7:17:") && shown.contains(part), "{shown}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(
        text in prop::collection::vec(prop::sample::select(REFERENCE.lines().collect::<Vec<_>>()), 0..60),
        cut in 0_usize..4000,
        put in ".{0,3}",
    ) {
        let mut text = text.join("\n").replace("#: ", "");
        let mut cut = cut.min(text.len());
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        text.insert_str(cut, &put);
        let loaded = read(&text);
        let _ = loaded.report.show(Path::new("F")).to_string();
    }
}

#[test]
fn a_certificate_needs_its_key_and_files_that_are_not_there_are_named() {
    let with = |node: &str| complaints(&format!("[node]\nrtsps_listen = \"[::1]:1\"\n{node}\n{LEAST}"));
    let told = with("tls_certificate = \"c.pem\"").join("\n");
    assert!(told.contains("tls_key"), "{told}");
    let told = with("tls_key = \"k.pem\"").join("\n");
    assert!(told.contains("tls_certificate"), "{told}");
    let told = with("tls_certificate = \"c.pem\"\ntls_key = \"k.pem\"").join("\n");
    assert!(told.contains("/etc/keepwatch/c.pem cannot be read"), "{told}");
    assert!(told.contains("/etc/keepwatch/k.pem cannot be read"), "{told}");
}
