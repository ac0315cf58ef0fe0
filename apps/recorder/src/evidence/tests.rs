//! Archives against readers that are not ours, and everything that can be changed in one.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Command;

use keepwatch_tls::NodeKey;
use tempfile::TempDir;

use super::*;

fn create(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).unwrap()
}

/// An archive of two files with everything that belongs to it; `change` is made to the manifest before it is signed.
fn archive(directory: &Path, long: bool, change: impl FnOnce(&mut Manifest)) -> std::path::PathBuf {
    let path = directory.join("export.zip");
    let file = create(&path);
    let mut zip = if long { ZipWriter::always_long(file) } else { ZipWriter::new(file) };
    let files = vec![
        zip.add("gate-2026.mp4", &[7; 3_000]).unwrap(),
        zip.add(COVERAGE, b"{}").unwrap(),
        zip.add("empty.mp4", b"").unwrap(),
    ];
    let (key, _) = NodeKey::keep(directory).unwrap();
    let mut manifest = Manifest {
        format: FORMAT.to_owned(),
        node: "north".to_owned(),
        recorder: "00".to_owned(),
        version: "1".to_owned(),
        created: "2026-11-21T22:00:00Z".parse().unwrap(),
        by: "ann".to_owned(),
        from: "2026-11-21T21:00:00Z".parse().unwrap(),
        to: "2026-11-21T21:10:00Z".parse().unwrap(),
        stream: "main".to_owned(),
        audio: true,
        cameras: vec![NamedCamera { id: "gate".parse().unwrap(), name: "Gate".to_owned() }],
        audit_head: None,
        files,
    };
    change(&mut manifest);
    let text = serde_json::to_vec_pretty(&manifest).unwrap();
    zip.add(MANIFEST, &text).unwrap();
    zip.add(SIGNATURE, &key.sign(&text).unwrap()).unwrap();
    zip.add(PUBLIC_KEY, key.public_pem().as_bytes()).unwrap();
    let bytes = zip.finish().unwrap();
    assert_eq!(bytes, fs::metadata(&path).unwrap().len());
    path
}

fn faults(path: &Path) -> Vec<Fault> {
    verify(path, None, |_, _| {}).unwrap().faults
}

/// Runs a program that must be there and succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

#[test]
fn archives_of_either_form_are_read_by_unzip_and_by_python() {
    for long in [false, true] {
        let directory = TempDir::new().unwrap();
        let path = archive(directory.path(), long, |_| {});
        assert_eq!(faults(&path), []);
        run(Command::new("unzip").arg("-t").arg(&path));
        let script = "import sys, zipfile\n\
                      z = zipfile.ZipFile(sys.argv[1])\n\
                      assert z.testzip() is None\n\
                      assert z.read('gate-2026.mp4') == bytes([7]) * 3000\n\
                      assert z.read('empty.mp4') == b''\n\
                      assert len(z.namelist()) == 6, z.namelist()\n";
        run(Command::new("/usr/bin/python3").args(["-c", script]).arg(&path));
    }
}

#[test]
fn the_signature_is_verified_by_openssl_as_the_readme_says() {
    let directory = TempDir::new().unwrap();
    let path = archive(directory.path(), false, |_| {});
    let out = directory.path().join("out");
    run(Command::new("unzip").arg(&path).arg("-d").arg(&out));
    let text = readme("north", "sha256:00", &[]);
    let line = text.lines().find(|line| line.contains("pkeyutl")).unwrap();
    let said = run(Command::new("sh").args(["-c", line.trim()]).current_dir(&out));
    assert!(said.contains("Verified"), "{said}");
    // What people compare is what the readme has them compute.
    let line = text.lines().find(|line| line.contains("sha256sum shows")).unwrap();
    let line = line.split(" shows").next().unwrap();
    let sum = run(Command::new("sh").args(["-c", line]).current_dir(&out));
    let key = verify(&path, None, |_, _| {}).unwrap().key.to_string();
    assert_eq!(key, format!("sha256:{}", sum.split(' ').next().unwrap()));
}

#[test]
fn a_change_of_any_byte_is_told() {
    for long in [false, true] {
        let directory = TempDir::new().unwrap();
        let path = archive(directory.path(), long, |_| {});
        let sound = fs::read(&path).unwrap();
        // Of the long file a few will do.
        for at in (0..sound.len()).filter(|at| !(100..2_900).contains(at) || at % 100 == 0) {
            let mut changed = sound.clone();
            changed[at] ^= 0x01;
            fs::write(&path, &changed).unwrap();
            if let Ok(verified) = verify(&path, None, |_, _| {}) {
                assert_ne!(verified.faults, [], "byte {at} of {} was changed", sound.len());
            }
        }
        for end in (0..sound.len()).rev().step_by(97) {
            fs::write(&path, &sound[..end]).unwrap();
            assert!(verify(&path, None, |_, _| {}).is_err(), "cut to {end} bytes");
        }
        fs::write(&path, [sound.as_slice(), b"x"].concat()).unwrap();
        assert!(verify(&path, None, |_, _| {}).is_err(), "something behind it");
        fs::write(&path, [b"x", sound.as_slice()].concat()).unwrap();
        assert!(verify(&path, None, |_, _| {}).is_err(), "something before it");
    }
}

#[test]
fn each_kind_of_tampering_is_told_by_its_name() {
    let directory = TempDir::new().unwrap();
    let path = archive(directory.path(), false, |_| {});
    let mut changed = fs::read(&path).unwrap();
    changed[500] ^= 0x80;
    fs::write(&path, changed).unwrap();
    assert_eq!(faults(&path), [Fault::Changed("gate-2026.mp4".to_owned())]);

    let path = archive(directory.path(), false, |manifest| drop(manifest.files.remove(1)));
    assert_eq!(faults(&path), [Fault::Added(COVERAGE.to_owned())]);

    let more = ManifestFile { name: "yard.mp4".to_owned(), bytes: 1, sha256: String::new() };
    let path = archive(directory.path(), false, |manifest| manifest.files.push(more));
    assert_eq!(faults(&path), [Fault::Missing("yard.mp4".to_owned())]);

    // The same archive with a manifest that says something else.
    let path = archive(directory.path(), false, |_| {});
    let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).find("\"by\": \"ann\"").is_some();
    assert!(text);
    let mut changed = fs::read(&path).unwrap();
    let at = changed.windows(11).position(|held| held == b"\"by\": \"ann\"").unwrap();
    changed[at + 7] = b'b';
    fs::write(&path, changed).unwrap();
    assert!(faults(&path).contains(&Fault::Signature));
}

#[test]
fn an_archive_that_somebody_else_signed_is_told_by_its_key() {
    let (ours, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let key = NodeKey::keep(ours.path()).unwrap().0.public().unwrap().fingerprint();
    let path = archive(ours.path(), false, |_| {});
    assert_eq!(verify(&path, Some(key), |_, _| {}).unwrap().faults, []);
    let path = archive(theirs.path(), false, |_| {});
    let verified = verify(&path, Some(key), |_, _| {}).unwrap();
    assert_eq!(verified.faults, [Fault::OtherKey { found: verified.key, expected: key }]);
}

#[test]
fn a_file_has_the_length_that_was_said() {
    let directory = TempDir::new().unwrap();
    let mut zip = ZipWriter::new(create(&directory.path().join("x.zip")));
    assert!(zip.write(b"x").is_err() && zip.end().is_err());
    zip.begin("a", 2).unwrap();
    assert!(zip.begin("b", 1).is_err());
    zip.write(b"x").unwrap();
    assert!(zip.write(b"xy").is_err());
}
