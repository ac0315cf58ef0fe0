//! What a file looks like compressed, and which clients take it so (RFC 9110 §12.5.3).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::GetAll;
use flate2::{Compression, GzBuilder};

use super::Asset;

/// A file with gzip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compressed {
    /// Another than the file's own: the bytes are others (RFC 9110 §8.8.3.3).
    pub(super) etag: HeaderValue,
    pub(super) bytes: Bytes,
}

/// What was compressed so far, by the files' own tags; `None` where that did not make it smaller. It holds no more than
/// there are files.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<BTreeMap<&'static str, Option<Compressed>>>);

impl Shelf {
    /// What is known of the file with `etag`.
    pub(super) fn find(&self, etag: &str) -> Option<Option<Compressed>> {
        self.held().get(etag).cloned()
    }

    /// Compresses a file and keeps the result. Takes some milliseconds.
    pub(super) fn compress(&self, asset: &Asset) -> Option<Compressed> {
        let made = compressed(asset);
        self.held().insert(asset.etag, made.clone());
        made
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<Compressed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compressed(asset: &Asset) -> Option<Compressed> {
    let etag = HeaderValue::try_from(format!("{}-gzip\"", asset.etag.strip_suffix('"')?)).ok()?;
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    encoder.write_all(asset.bytes).ok()?;
    let bytes = encoder.finish().ok()?;
    (bytes.len() < asset.bytes.len()).then(|| Compressed { etag, bytes: bytes.into() })
}

/// Whether files of this media type may shrink.
pub(super) fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/") || media_type == "image/svg+xml"
}

/// Whether a client takes gzip: it says so, or takes anything, and does not say that it does not.
pub(super) fn takes_gzip(accepted: GetAll<'_, HeaderValue>) -> bool {
    let mut any = false;
    for member in accepted.iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')) {
        let (coding, parameters) = member.split_once(';').unwrap_or((member, ""));
        let coding = coding.trim();
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            return !is_refused(parameters);
        }
        if coding == "*" {
            any = !is_refused(parameters);
        }
    }
    any
}

/// Whether the weight is zero (RFC 9110 §12.4.2).
fn is_refused(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| {
        let Some((name, weight)) = parameter.split_once('=') else { return false };
        name.trim().eq_ignore_ascii_case("q")
            && weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;
    use axum::http::header::ACCEPT_ENCODING;
    use std::io::Read as _;

    fn takes(lines: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, line.parse().unwrap());
        }
        takes_gzip(headers.get_all(ACCEPT_ENCODING))
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it_and_to_nobody_else() {
        for taken in
            [&["gzip, deflate, br, zstd"][..], &["GZIP;q=0.1"], &["br", "x-gzip"], &["*"], &["*;q=0, gzip"]]
        {
            assert!(takes(taken), "{taken:?}");
        }
        for refused in [
            &[][..],
            &[""],
            &["br"],
            &["gzip;q=0, *"],
            &["gzip; q=0.000"],
            &["*;Q=0"],
            &["identity"],
            &["gzipped"],
            &[";;,,=;q"],
        ] {
            assert!(!takes(refused), "{refused:?}");
        }
    }

    #[test]
    fn what_is_compressed_is_the_file_again_and_what_would_grow_is_left() {
        let asset = |bytes| Asset { bytes, media_type: "text/css", etag: "\"1f\"", immutable: true };
        let shelf = Shelf::default();
        assert_eq!(shelf.find("\"1f\""), None);
        let text = "a { color: red }\n".repeat(100).leak();
        let made = shelf.compress(&asset(text.as_bytes())).unwrap();
        let mut back = String::new();
        flate2::read::GzDecoder::new(&made.bytes[..]).read_to_string(&mut back).unwrap();
        assert_eq!((back.as_str(), made.etag.to_str().unwrap()), (&*text, "\"1f-gzip\""));
        assert_eq!(shelf.find("\"1f\""), Some(Some(made)));
        assert_eq!(shelf.compress(&asset(b"1")), None);
        assert_eq!(shelf.find("\"1f\""), Some(None));
    }
}
