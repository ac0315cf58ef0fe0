//! A single picture of a device, from the address that it gave for it.

use keepwatch_media::auth::Credentials;
use url::Url;

use super::call::Caller;
use super::tls::Tls;
use super::{ClientError, Options};

/// Longest picture, in bytes: a camera of 12 megapixels sends four million.
const PICTURE_BYTES_MAX: usize = 8 << 20;

/// Fetches a picture from `place`, as [`snapshot_uri`](super::Device::snapshot_uri) tells it. What came is not looked at.
///
/// # Errors
/// As [`ClientError`] says; the login is given to the configured host only, and not in the clear where that has TLS.
pub async fn fetch_picture(options: &Options, place: &Url) -> Result<Vec<u8>, ClientError> {
    let Options { address, credentials, certificate, call_time } = options;
    let less_secure = address.scheme() == "https" && place.scheme() != "https";
    if place.host_str() != address.host_str() || less_secure || !matches!(place.scheme(), "http" | "https") {
        return Err(ClientError::Redirected(place.to_string()));
    }
    let credentials: Option<Credentials> = credentials.clone();
    let caller = Caller::new(credentials, Tls::new(*certificate));
    caller.fetch("the picture", place, *call_time, PICTURE_BYTES_MAX).await
}
