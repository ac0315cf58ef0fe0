//! Whether a browser sent a request from our own page, for requests that change state by a cookie.
//!
//! `SameSite=Strict` already keeps the cookie from other sites; this is the second lock, because a site is not an
//! origin: another port of the same host is the same site. Fetch Metadata (W3C) decides where it is present, the
//! `Origin` header (RFC 6454 §7) where it is not.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method};

/// What the headers say about where a request was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// On a page of this very origin.
    Same,
    /// On a page of another origin.
    Other,
    /// The client does not say: it is no browser, or a very old one.
    Unsaid,
}

/// Whether `method` changes nothing (RFC 9110 §9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD || method == Method::OPTIONS
}

/// Where a request with `headers` was made.
pub(crate) fn source(headers: &HeaderMap) -> Source {
    if let Some(site) = headers.get("sec-fetch-site") {
        return if site == "same-origin" { Source::Same } else { Source::Other };
    }
    let Some(origin) = headers.get(ORIGIN) else { return Source::Unsaid };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match (authority, host) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Source::Same,
        _ => Source::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &'static str)]) -> Source {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        source(&headers)
    }

    #[test]
    fn only_the_own_origin_counts_as_same() {
        let host = ("host", "[::1]:8080");
        assert_eq!(of(&[host]), Source::Unsaid);
        assert_eq!(of(&[host, ("origin", "http://[::1]:8080")]), Source::Same);
        assert_eq!(of(&[host, ("origin", "http://[::1]:8081")]), Source::Other);
        assert_eq!(of(&[host, ("origin", "null")]), Source::Other);
        assert_eq!(of(&[("origin", "http://[::1]:8080")]), Source::Other);
        assert_eq!(of(&[host, ("sec-fetch-site", "same-origin")]), Source::Same);
        assert_eq!(of(&[host, ("sec-fetch-site", "same-site")]), Source::Other);
        // Fetch Metadata cannot be set by a page's script, Origin can be absent: the former decides.
        assert_eq!(
            of(&[host, ("sec-fetch-site", "cross-site"), ("origin", "http://[::1]:8080")]),
            Source::Other
        );
    }
}
