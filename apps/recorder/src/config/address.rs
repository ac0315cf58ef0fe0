//! Addresses of cameras, and the logins that stand in them and belong elsewhere.

use url::Url;

use super::Secret;
use super::text::Complaint;

/// Longest address in bytes: cameras have far shorter ones.
const ADDRESS_BYTES_MAX: usize = 2048;

/// An address, and what stood in it that belongs elsewhere.
#[derive(Debug)]
pub(super) struct Address {
    /// The address without user and password.
    pub(super) url: Url,
    /// The user that stood in it.
    pub(super) user: Option<String>,
    /// The password that stood in it.
    pub(super) password: Option<Secret>,
}

/// Reads the address of a stream. The text itself is never quoted: it may hold a password.
pub(super) fn stream(text: &str) -> Result<Address, Complaint> {
    const REMEDY: &str =
        "write an address like \"rtsp://192.0.2.10/stream\" or \"rtsp://[2001:db8::10]:554/stream\"";
    read(text, "url", &["rtsp", "rtsps"], REMEDY)
}

/// Reads the address of an ONVIF device.
pub(super) fn device(text: &str) -> Result<Address, Complaint> {
    read(
        text,
        "address",
        &["http", "https"],
        "write an address like \"http://192.0.2.10\" or \"https://192.0.2.10:8443\"",
    )
}

fn read(text: &str, word: &str, schemes: &[&str], remedy: &str) -> Result<Address, Complaint> {
    if text.len() > ADDRESS_BYTES_MAX {
        let what = format!("the {word} is longer than {ADDRESS_BYTES_MAX} bytes");
        return Err(Complaint::new(what, remedy));
    }
    let url = Url::parse(text.trim())
        .map_err(|error| Complaint::new(format!("the {word} is not valid: {error}"), remedy))?;
    if !schemes.contains(&url.scheme()) {
        let what = format!("{}:// cannot be recorded", url.scheme());
        return Err(Complaint::new(what, remedy));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Complaint::new(format!("the {word} names no host"), remedy));
    }
    let user = (!url.username().is_empty()).then(|| unescaped(url.username()));
    let password = url.password().map(|password| Secret::new(unescaped(password)));
    let mut bare = url;
    // These fail only for addresses without a host, which were refused above.
    let _ = bare.set_password(None);
    let _ = bare.set_username("");
    Ok(Address { url: bare, user, password })
}

/// Undoes percent-encoding (RFC 3986 §2.1); what is not an escape stays as it is.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
