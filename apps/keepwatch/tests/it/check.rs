//! `keepwatch check` and the other commands on what is wrong.

use std::fs;

use super::process::finished;

#[test]
fn check_tells_every_mistake_with_file_line_and_column() {
    let directory = tempfile::Builder::new().prefix("a b ").tempdir().unwrap();
    let file = directory.path().join("k.toml");
    fs::write(directory.path().join("plain"), "").unwrap();
    fs::create_dir(directory.path().join("footage")).unwrap();
    let text = "\
[node]
data = \"plain\"
nmae = \"x\"
[[disk]]
path = \"gone\"
[[disk]]
path = \"plain\"
[[disk]]
path = \"footage\"
size = \"900000 TiB\"
[[camera]]
id = \"a\"
url = \"rtsp://u:secret@h/s\"
[[camera]]
id = \"a\"
url = \"rtsp://h/s\"
password_file = \"none\"
";
    fs::write(&file, text).unwrap();
    let (code, stdout, stderr) = finished(&[&"check", &file]);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    let prefix = format!("{}:", file.display());
    let lines: Vec<&str> = stderr.lines().map(|line| line.strip_prefix(&prefix).unwrap()).collect();
    let d = directory.path().display();
    let expected = [
        format!("2:8: the data directory {d}/plain is not a directory; name a directory"),
        "3:1: unknown key \"nmae\" in [node]; did you mean \"name\"?".to_owned(),
        format!(
            "5:8: the disk {d}/gone cannot be reached: No such file or directory (os error 2); mount it, or create \
             the directory"
        ),
        format!(
            "7:8: the disk {d}/plain is neither a directory nor a block device; name the directory that is to hold \
             the footage"
        ),
        "9:8: the disk ".to_owned(),
        "13:7: warning: the url holds a password, which anybody who sees this file can read; move the user to user = \
         \"...\" and the password to a file named by password_file"
            .to_owned(),
        "15:6: camera id \"a\" is already used on line 12; every entry needs one of its own".to_owned(),
        format!(
            "17:17: {d}/none cannot be read: No such file or directory (os error 2); create it with the camera's \
             password"
        ),
        "17:17: there is a password but no user; add user = \"...\"".to_owned(),
    ];
    for expected in &expected {
        let found = lines
            .iter()
            .any(|line| line == expected || expected.ends_with(' ') && line.starts_with(expected));
        assert!(found, "{expected}\nis not in\n{stderr}");
    }
    assert_eq!(lines.len(), expected.len(), "{stderr}");
    assert!(!stderr.contains("secret"), "{stderr}");
}

#[test]
fn check_accepts_what_can_run_and_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("k.toml");
    fs::create_dir(directory.path().join("footage")).unwrap();
    let text = "[node]\ndata = \"data/deep\"\n[[disk]]\npath = \"footage\"\nsize = \"128 MiB\"\n[[camera]]\nid = \"a\"\nurl = \"rtsp://h/s\"\n";
    fs::write(&file, text).unwrap();
    let (code, stdout, stderr) = finished(&[&"check", &file]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(stdout, format!("{}: can be used; 1 cameras, 1 disks\n", file.display()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    assert_eq!(fs::read_dir(directory.path().join("footage")).unwrap().count(), 0);
}

#[test]
fn commands_without_their_node_or_file_say_so_and_how_they_ended() {
    let directory = tempfile::tempdir().unwrap();
    let none = directory.path().join("none.toml");
    let (code, _, stderr) = finished(&[&"check", &none]);
    assert_eq!(code, 2);
    assert!(stderr.contains("none.toml: cannot be read: No such file"), "{stderr}");
    let (code, _, stderr) = finished(&[&"run", &"--config", &none]);
    assert_eq!(code, 2);
    assert!(stderr.contains("none.toml: cannot be read"), "{stderr}");
    let (code, _, stderr) = finished(&[&"status", &"--data", &directory.path()]);
    assert_eq!(code, 1);
    assert!(
        stderr.starts_with("keepwatch: no node answers on ") && stderr.contains("is it running?"),
        "{stderr}"
    );
    let (code, _, stderr) = finished(&[&"verify", &"--data", &directory.path()]);
    assert_eq!(code, 1);
    assert!(stderr.contains("no node has run on"), "{stderr}");
    assert_eq!(finished(&[&"frobnicate"]).0, 2);
}

#[test]
fn check_tells_of_a_certificate_that_does_not_fit_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("footage")).unwrap();
    let now = "2026-11-22T00:00:00Z".parse().unwrap();
    for place in ["one", "other"] {
        fs::create_dir(path(place)).unwrap();
        keepwatch_tls::Identity::keep(&path(place), &keepwatch_tls::Names::local(), now).unwrap();
    }
    let file = path("k.toml");
    let check = |key: &str| {
        let text = format!(
            "[node]\ndata = \"data\"\ntls_certificate = \"one/tls-certificate.pem\"\ntls_key = \"{key}/tls-key.pem\"\n\
             [[disk]]\npath = \"footage\"\nsize = \"128 MiB\"\n[[camera]]\nid = \"a\"\nurl = \"rtsp://h/s\"\n"
        );
        fs::write(&file, text).unwrap();
        let (code, _, stderr) = finished(&[&"check", &file]);
        (code, stderr)
    };
    assert_eq!(check("one"), (0, String::new()));
    let (code, stderr) = check("other");
    assert_eq!(code, 2);
    assert!(stderr.contains("k.toml:3:19: the certificate cannot be shown"), "{stderr}");
}
