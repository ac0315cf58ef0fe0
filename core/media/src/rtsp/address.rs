//! Addresses: what is sent in a request line, how a control address of a description is resolved, and how any of them
//! is shown.

use std::fmt::{self, Write as _};

use url::Url;

use crate::text::Headers;

/// The port of `rtsp:` addresses without one.
pub const DEFAULT_PORT: u16 = 554;

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address: {reason}")]
pub struct AddressError {
    /// It, as [`ShownAddress`] shows it.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

impl AddressError {
    fn new(text: &str, reason: impl ToString) -> Self {
        Self { text: ShownAddress(text).to_string(), reason: reason.to_string() }
    }
}

/// The address as it goes on the wire: without user, password and fragment.
pub fn request_uri(url: &Url) -> Url {
    let mut uri = url.clone();
    // Both can only fail for addresses without a host, which have no user either.
    let _ = uri.set_username("");
    let _ = uri.set_password(None);
    uri.set_fragment(None);
    uri
}

/// Longest part of an address that is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// What stands in the place of what is not shown.
const HIDDEN: &str = "***";

/// Words before a password in a path: some cameras have their login there, as
/// `/user=admin_password=x_channel=1_stream=0.sdp`.
const PASSWORD_MARKS: [&str; 5] = ["password=", "passwd=", "pwd=", "psw=", "pass="];

/// An address as logs and errors may show it, however it is written: without user and password, without the values of
/// its query, and cut off where a password stands in the path. Shortened to 200 characters.
#[derive(Clone, Copy)]
pub struct ShownAddress<'a>(pub &'a str);

impl fmt::Display for ShownAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A password with a slash or a question mark in it, which should be escaped, must not be shown either: what
        // stands before the last @ is not, wherever that is.
        let (scheme, rest) = self.0.find("://").map_or(("", self.0), |at| self.0.split_at(at + 3));
        let (login, rest) = rest.rfind('@').map_or(("", rest), |at| rest.split_at(at + 1));
        if login.contains('?') {
            // It cannot be told whether this is a login or a query.
            return write!(f, "{scheme}{HIDDEN}");
        }
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let lower = path.to_ascii_lowercase();
        let password = PASSWORD_MARKS.iter().filter_map(|mark| Some(lower.find(mark)? + mark.len())).min();
        let mut out = Shortened { out: f, left: SHOWN_CHARS_MAX };
        out.write_str(scheme)?;
        if let Some(password) = password {
            out.write_str(path.get(..password).unwrap_or_default())?;
            return out.write_str(HIDDEN);
        }
        out.write_str(path)?;
        for (position, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
            out.write_str(if position == 0 { "?" } else { "&" })?;
            if let Some((name, _)) = parameter.split_once('=') {
                write!(out, "{name}=")?;
            }
            out.write_str(HIDDEN)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ShownAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Passes on so many characters, and no control characters.
struct Shortened<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl fmt::Write for Shortened<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars().take(self.left) {
            self.left = self.left.saturating_sub(1);
            self.out.write_char(if character.is_control() { ' ' } else { character })?;
        }
        Ok(())
    }
}

/// The base that control addresses of a description are relative to (RFC 2326 §C.1.1): `Content-Base`, else
/// `Content-Location`, else the address of the request.
///
/// Some cameras leave out the scheme, some send only a path, some send what is no address at all: the first two are
/// completed from `request`, the last one is passed over.
pub fn content_base(headers: &Headers, request: &Url) -> Url {
    let stated = ["Content-Base", "Content-Location"].into_iter().flat_map(|name| headers.all(name));
    let mut bases = stated.filter(|text| !text.is_empty()).filter_map(|text| complete(text, request));
    bases.next().map_or_else(|| request_uri(request), |base| request_uri(&base))
}

fn complete(text: &str, request: &Url) -> Option<Url> {
    match Url::parse(text) {
        // "camera:554/x" parses as scheme "camera": only what has a host is an address.
        Ok(url) if url.has_host() => Some(url),
        _ if text.starts_with('/') || text == "*" => request.join(text.trim_end_matches('*')).ok(),
        _ if text.contains("://") => None,
        _ => Url::parse(&format!("{}://{text}", request.scheme())).ok().filter(Url::has_host),
    }
}

/// The address of a track or of the whole presentation, out of the `control` attribute of its description.
///
/// `*` and an empty text are the base itself. A relative one is appended behind a slash, also where the base ends
/// in a query: what RFC 3986 says of this matches no camera.
pub fn resolve_control(base: &Url, control: &str) -> Result<Url, AddressError> {
    let control = control.trim();
    if control.is_empty() || control == "*" {
        return Ok(base.clone());
    }
    if let Ok(url) = Url::parse(control)
        && url.has_host()
    {
        return Ok(request_uri(&url));
    }
    let slash = if base.as_str().ends_with('/') || control.starts_with('/') { "" } else { "/" };
    let base_text =
        if control.starts_with('/') { base.as_str().trim_end_matches('/') } else { base.as_str() };
    Url::parse(&format!("{base_text}{slash}{control}")).map_err(|error| AddressError::new(control, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_password_is_not_shown() {
        for (text, shown) in [
            ("rtsp://cam:554/live/1", "rtsp://cam:554/live/1"),
            ("rtsp://admin:s3cret@cam/live", "rtsp://cam/live"),
            ("rtsp://admin:s3/cr@et@cam/live", "rtsp://cam/live"),
            ("rtsp://admin:s3?cret@cam/live", "rtsp://***"),
            ("rtsp://cam/live?mail=a@s3cret", "rtsp://***"),
            (
                "rtsp://cam/live?user=admin&password=s3cret&channel=1",
                "rtsp://cam/live?user=***&password=***&channel=***",
            ),
            ("rtsp://cam/live?s3cret", "rtsp://cam/live?***"),
            ("/user=admin&Password=s3cret&channel=1", "/user=admin&Password=***"),
            ("rtsp://cam/user=admin_password=s3cret_stream=0.sdp?x", "rtsp://cam/user=admin_password=***"),
            ("trackID=1", "trackID=1"),
            ("", ""),
        ] {
            assert_eq!(ShownAddress(text).to_string(), shown, "{text}");
            assert_eq!(format!("{:?}", ShownAddress(text)), shown, "{text}");
        }
        assert_eq!(ShownAddress(&"\u{7}é".repeat(500)).to_string(), " é".repeat(100));
    }
}
