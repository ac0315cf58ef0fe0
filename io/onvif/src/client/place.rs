//! Where requests go: always to the host that was configured.

use url::Url;

use super::ClientError;

/// The path of the device service where none is configured (ONVIF Core §5.1.2.1 and every device seen).
const DEVICE_SERVICE: &str = "/onvif/device_service";

/// Longest address that a device may hand out, in bytes.
const ADDRESS_BYTES_MAX: usize = 2048;

/// The address of the device service at what an operator wrote: `http://192.0.2.10`, or with port and path.
pub(super) fn device_service(address: &Url) -> Result<Url, ClientError> {
    let mut place = bare(address.clone());
    if !matches!(place.scheme(), "http" | "https") || place.host_str().is_none_or(str::is_empty) {
        return Err(ClientError::Address(place.to_string()));
    }
    if place.path() == "/" {
        place.set_path(DEVICE_SERVICE);
    }
    Ok(place)
}

/// Where a service is found whose address the device gave as `given`, when the device was reached at `reached`.
///
/// The path is the device's. A port counts only beside the host that was configured: where another host is named, the
/// device does not know how it is reached, and its port is as foreign. TLS is never left.
pub(super) fn service(reached: &Url, given: &str) -> Option<Url> {
    let given = parse(given, reached)?;
    if !matches!(given.scheme(), "http" | "https") {
        return None;
    }
    let mut place = reached.clone();
    place.set_path(given.path());
    place.set_query(given.query());
    if given.host_str() == reached.host_str() && given.scheme() == reached.scheme() {
        place.set_port(given.port()).ok()?;
    }
    Some(place)
}

/// Where a stream is found whose address the device gave as `given`: at the host that was configured, with the device's
/// port, path and scheme, and without login. `None` when it is no RTSP address.
pub(super) fn stream(reached: &Url, given: &str) -> Option<Url> {
    let given = parse(given, reached)?;
    if !matches!(given.scheme(), "rtsp" | "rtsps" | "rtspu") {
        return None;
    }
    let mut place = bare(given);
    place.set_host(Some(reached.host_str()?)).ok()?;
    Some(place)
}

fn parse(given: &str, base: &Url) -> Option<Url> {
    let given = given.trim();
    (given.len() <= ADDRESS_BYTES_MAX).then_some(())?;
    // A link-local address may carry the zone of the device's own interface, which no URL parser reads.
    let cut = given.find('%').and_then(|percent| {
        let end = percent.checked_add(given.get(percent..)?.find(']')?)?;
        let open = given.get(..percent)?.contains('[');
        open.then(|| Some(format!("{}{}", given.get(..percent)?, given.get(end..)?))).flatten()
    });
    let given = base.join(cut.as_deref().unwrap_or(given)).ok()?;
    given.host_str().is_some_and(|host| !host.is_empty()).then_some(given)
}

/// An address without login and fragment.
fn bare(mut address: Url) -> Url {
    let _ = address.set_username("");
    let _ = address.set_password(None);
    address.set_fragment(None);
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn the_device_service_is_found_at_what_operators_write() {
        for (address, expected) in [
            ("http://192.0.2.10", "http://192.0.2.10/onvif/device_service"),
            ("https://u:p@cam.example:8443/#x", "https://cam.example:8443/onvif/device_service"),
            ("http://[2001:db8::1]:8080/x", "http://[2001:db8::1]:8080/x"),
        ] {
            assert_eq!(device_service(&url(address)).unwrap().as_str(), expected);
        }
        assert!(device_service(&url("rtsp://192.0.2.10")).is_err());
        assert!(device_service(&url("file:///etc/passwd")).is_err());
    }

    #[test]
    fn services_stay_on_the_host_that_was_configured() {
        let reached = url("http://192.0.2.10:8080/onvif/device_service");
        for (given, expected) in [
            ("http://192.0.2.10:8080/onvif/Media", "http://192.0.2.10:8080/onvif/Media"),
            ("http://192.0.2.10:8899/onvif/Media?a=b", "http://192.0.2.10:8899/onvif/Media?a=b"),
            ("http://192.0.2.10/onvif/Media", "http://192.0.2.10/onvif/Media"),
            ("http://172.17.0.2/onvif/Media", "http://192.0.2.10:8080/onvif/Media"),
            ("http://[fe80::1%25eth0]:80/onvif/Media", "http://192.0.2.10:8080/onvif/Media"),
            ("http://[fe80::1%eth0]/onvif/Media", "http://192.0.2.10:8080/onvif/Media"),
            ("https://evil.example/x", "http://192.0.2.10:8080/x"),
            ("/onvif/Media", "http://192.0.2.10:8080/onvif/Media"),
        ] {
            assert_eq!(service(&reached, given).unwrap().as_str(), expected, "{given}");
        }
        let reached = url("https://cam.example/onvif/device_service");
        let plain = service(&reached, "http://cam.example:80/onvif/Media").unwrap();
        assert_eq!(plain.as_str(), "https://cam.example/onvif/Media");
        assert_eq!(service(&reached, "rtsp://cam.example/"), None);
        assert_eq!(service(&reached, &"x".repeat(3000)), None);
    }

    #[test]
    fn streams_keep_their_port_and_lose_host_and_login() {
        let reached = url("http://192.0.2.10:8080/onvif/device_service");
        for (given, expected) in [
            ("rtsp://10.0.0.5:8554/live?c=1&s=0", "rtsp://192.0.2.10:8554/live?c=1&s=0"),
            ("rtsp://admin:secret@192.0.2.10/live", "rtsp://192.0.2.10/live"),
            ("rtsp://[fe80::1%eth0]:554/live", "rtsp://192.0.2.10:554/live"),
        ] {
            assert_eq!(stream(&reached, given).unwrap().as_str(), expected, "{given}");
        }
        assert_eq!(stream(&reached, "http://192.0.2.10/live"), None);
        assert_eq!(stream(&reached, "live"), None);
    }
}
