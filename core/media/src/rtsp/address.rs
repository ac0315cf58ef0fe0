//! Addresses: what is sent in a request line, and how a control address of a description is resolved.

use url::Url;

use crate::text::Headers;

/// The port of `rtsp:` addresses without one.
pub const DEFAULT_PORT: u16 = 554;

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address: {reason}")]
pub struct AddressError {
    /// The first 128 characters of it.
    pub text: String,
    /// What is wrong.
    pub reason: String,
}

impl AddressError {
    fn new(text: &str, reason: impl ToString) -> Self {
        Self { text: text.chars().take(128).collect(), reason: reason.to_string() }
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
