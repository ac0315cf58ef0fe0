//! What a demo tells: where it is, how to log in, and commands that work as they are printed.

use std::time::Duration;

use super::site::{Directory, RECORDER, Site};
use super::{AWAY, Places};
use crate::config::show_bytes;

/// The text for a demo that is recording, by a recorder whose process is `pid`.
pub(super) fn text(site: &Site, directory: &Directory, places: Places, pid: u32, start: Duration) -> String {
    let Places { recorder: address, standby, edge } = places;
    let place = if directory.is_temporary() { "removed at the end" } else { "kept at the end" };
    let (path, program) =
        (quoted(&directory.path().display().to_string()), quoted(&site.program().display().to_string()));
    let data = quoted(&directory.data().display().to_string());
    let standby_data = quoted(&directory.standby_data().display().to_string());
    let box_data = quoted(&directory.box_data().display().to_string());
    let control = quoted(&directory.control().display().to_string());
    let line = quoted(&directory.line().display().to_string());
    let tenths = start.as_millis() / 100;
    // Nobody else is on the way to a loopback address; from elsewhere it takes TLS, with a certificate nobody knows yet.
    let (scheme, curl) = if address.ip().is_loopback() { ("http", "curl -s") } else { ("https", "curl -sk") };
    format!(
        r#"Keepwatch demo: {cameras} virtual cameras, all of them recorded {seconds}.{tenth} s after the start, a standby, and an edge box.

  address    {scheme}://{address}
  standby    {scheme}://{standby}
  edge box   {scheme}://{edge}
  user       admin
  password   {password}
  directory  {path} ({place}; at most {size} of footage)

Try in another terminal, from top to bottom:

  A={scheme}://{address}
  TOKEN=$({curl} $A/api/v1/login -H 'Content-Type: application/json' -d '{{"user":"admin","password":"{password}"}}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
  {curl} $A/api/v1/cameras -H "Authorization: Bearer $TOKEN"
  FROM=$(date -u -d '-1 minute' +%FT%TZ) TO=$(date -u -d '+1 minute' +%FT%TZ)
  {curl} "$A/api/v1/cameras/cam1/coverage?from=$FROM&to=$TO" -H "Authorization: Bearer $TOKEN"
  {curl} "$A/api/v1/cameras/cam1/export.mp4?from=$FROM&to=$TO" -H "Authorization: Bearer $TOKEN" -o cam1.mp4

  {program} status --data {data} || true  # {box_camera} is a few seconds behind: its footage comes from the edge box
  {program} lab control {control} '{{"camera":"cam1","fault":"drop"}}'

Then cut the line between the edge box and the recorder. Within 15 s the page Edge of the box says case 1, and the recorder's timeline
outlines what is missing of {box_camera}. Heal it, and what the box recorded meanwhile comes:

  {program} lab control {line} '{{"line":"cut"}}'
  sleep 20; {program} edge status --data {box_data} || true
  {program} lab control {line} '{{"line":"heal"}}'
  until {program} edge status --data {box_data}; do sleep 3; done
  sleep 15; {program} export --data {data} --camera {box_camera} --from $FROM --to $(date -u -d '-10 seconds' +%FT%TZ) -o box.mp4

Then kill the recorder. Its standby records the cameras; the recorder is started again after {away} s, and gets its role and
the footage back. Watch the page NVR Failover of the standby, and the timeline of both:

  sleep 10; kill -9 {pid}
  sleep 5; {program} failover status --data {standby_data} || true
  until {program} failover failback {RECORDER} --data {standby_data}; do sleep 3; done
  sleep 10; {program} failover reports --data {standby_data}
  {program} export --data {data} --camera cam{cameras} --from $FROM --to $(date -u +%FT%TZ) -o whole.mp4

Ctrl-C ends it."#,
        away = AWAY.as_secs(),
        cameras = site.cameras(),
        box_camera = site.box_camera(),
        seconds = tenths / 10,
        tenth = tenths % 10,
        password = site.password(),
        size = show_bytes(site.disk_bytes()),
    )
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%=,".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_when_the_shell_would_take_it_apart() {
        assert_eq!(quoted("/tmp/keepwatch-demo-a1"), "/tmp/keepwatch-demo-a1");
        assert_eq!(quoted("/tmp/a b"), "'/tmp/a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
