//! What a request URI names: a path, and perhaps one of its tracks.

/// Before the number of a track in a control address; the name that live555 and most cameras use.
const TRACK_MARK: &str = "/trackID=";

/// A request URI, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    /// The path with its leading `/`, without query, track and trailing `/`.
    pub(super) path: &'a str,
    /// The track; `None` when all of them are meant.
    pub(super) track: Option<usize>,
    /// The URI without track and trailing `/`, what control addresses are relative to.
    pub(super) base: &'a str,
}

impl<'a> Address<'a> {
    /// Takes `uri` apart; anything can be, so this cannot fail. The host is not looked at: a server is reached
    /// under many names.
    pub(super) fn parse(uri: &'a str) -> Self {
        let marked = uri.rfind(TRACK_MARK).map(|at| uri.split_at(at)).and_then(|(base, mark)| {
            let number = mark.get(TRACK_MARK.len()..)?.trim_end_matches('/');
            Some((base, number.parse().ok()?))
        });
        let (base, track) = marked.map_or((uri, None), |(base, track)| (base, Some(track)));
        let base = base.trim_end_matches('/');
        let behind_scheme = base.split_once("://").map_or(base, |(_, rest)| rest);
        let path = behind_scheme.find('/').map_or("", |at| behind_scheme.get(at..).unwrap_or_default());
        let path = path.split_once('?').map_or(path, |(path, _)| path).trim_end_matches('/');
        Self { path: if path.is_empty() { "/" } else { path }, track, base }
    }
}

/// The control address of track `position`, relative to [`Address::base`] and a `/`.
pub(super) fn control(position: usize) -> String {
    format!("{}{position}", TRACK_MARK.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_apart_what_clients_send() {
        let cases = [
            ("rtsp://[::1]:8554/live/a", "/live/a", None, "rtsp://[::1]:8554/live/a"),
            ("rtsp://h/live/a/", "/live/a", None, "rtsp://h/live/a"),
            ("rtsp://h/live/a/trackID=1", "/live/a", Some(1), "rtsp://h/live/a"),
            ("rtsp://h/live/a/trackID=1/", "/live/a", Some(1), "rtsp://h/live/a"),
            ("rtsp://h/live/a?x=1/trackID=2", "/live/a", Some(2), "rtsp://h/live/a?x=1"),
            ("rtsp://h/a/trackID=x", "/a/trackID=x", None, "rtsp://h/a/trackID=x"),
            ("/a/trackID=0", "/a", Some(0), "/a"),
            ("rtsp://h", "/", None, "rtsp://h"),
            ("*", "/", None, "*"),
            ("", "/", None, ""),
        ];
        for (uri, path, track, base) in cases {
            assert_eq!(Address::parse(uri), Address { path, track, base }, "{uri}");
        }
        assert_eq!(control(2), "trackID=2");
    }
}
