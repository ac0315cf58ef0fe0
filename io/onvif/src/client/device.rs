//! A device: its clock, who it is, and which services it has.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_media::auth::Credentials;
use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_model::{WallTime, ticks_from_duration};
use url::Url;

use super::ClientError;
use super::call::{Call, Caller, Login, now};
use super::place;
use super::tls::Tls;
use crate::lexical;
use crate::namespace;
use crate::xml::{Element, Limits, Writer};

/// How long a call may take where nothing else is said: slow cameras need three seconds for their profiles.
const CALL_TIME: Duration = Duration::from_secs(10);

/// By how much a clock must have moved for a login to be worth another try: two seconds, which no device refuses.
const CLOCK_MOVED_TICKS: u64 = 2 * 90_000;

/// Services that are kept; a device has about fifteen.
const SERVICES_MAX: usize = 64;

/// How to reach a device.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where: `http://HOST` or `https://HOST`, with port and path where they are not the usual ones. A login in it is not
    /// used.
    pub address: Url,
    /// The login; `None` for a device that wants none.
    pub credentials: Option<Credentials>,
    /// Fingerprint of the certificate that must be shown over TLS; `None` takes any.
    pub certificate: Option<Fingerprint>,
    /// How long each request may take.
    pub call_time: Duration,
}

impl Options {
    /// The device at `address`, without login, any certificate, 10 s for each request.
    pub const fn new(address: Url) -> Self {
        Self { address, credentials: None, certificate: None, call_time: CALL_TIME }
    }

    /// The same with a login.
    #[must_use]
    pub fn with_login(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let credentials = Some(Credentials { user: user.into(), password: password.into() });
        Self { credentials, ..self }
    }
}

/// A service of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which one: one of the constants of [`namespace`], or any other.
    pub namespace: String,
    /// Where it is reached.
    pub place: Url,
}

/// Who made a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Information {
    /// Who made it; like the others empty when it does not say.
    pub manufacturer: String,
    /// What its maker calls it.
    pub model: String,
    /// The version of its software.
    pub firmware: String,
    /// Its serial number.
    pub serial: String,
    /// Its hardware.
    pub hardware: String,
}

/// A device that answered; a clone is the same device.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    caller: Caller,
    place: Url,
    call_time: Duration,
    services: Vec<Service>,
}

impl Device {
    /// Reads the device's clock, without login, and then its services.
    pub async fn connect(options: Options) -> Result<Self, ClientError> {
        let Options { address, credentials, certificate, call_time } = options;
        let place = place::device_service(&address)?;
        let caller = Caller::new(credentials, Tls::new(certificate));
        let mut inner = Inner { caller, place, call_time, services: Vec::new() };
        match inner.read_clock().await {
            Ok(offset) => inner.caller.set_clock_offset_ticks(offset),
            // A device that does not tell its clock may still accept logins by ours.
            Err(ClientError::Refused { .. } | ClientError::Missing { .. }) => {}
            Err(error) if error.is_login() => {}
            Err(error) => return Err(error),
        }
        inner.services = inner.read_services().await?;
        Ok(Self(Arc::new(inner)))
    }

    /// The address that all services are reached at, without login.
    pub fn address(&self) -> &Url {
        &self.0.place
    }

    /// How far the device's clock was ahead of this machine's when it was read last, in 90 kHz ticks, and to within half
    /// the time of an exchange and half a second; `None` when it does not tell.
    pub fn clock_offset_ticks(&self) -> Option<i64> {
        self.0.caller.clock_offset_ticks()
    }

    /// Reads the device's clock again; it is the clock that logins are dated by from then on.
    pub async fn read_clock(&self) -> Result<Option<i64>, ClientError> {
        let offset = self.0.read_clock().await?;
        self.0.caller.set_clock_offset_ticks(offset);
        Ok(offset)
    }

    /// The present time by the device's clock; by ours where it does not tell.
    pub fn now(&self) -> WallTime {
        now().plus(self.clock_offset_ticks().unwrap_or(0))
    }

    /// Fingerprint of the certificate that was shown; `None` without TLS.
    pub fn certificate(&self) -> Option<Fingerprint> {
        self.0.caller.tls.seen()
    }

    /// What it offers.
    pub fn services(&self) -> &[Service] {
        &self.0.services
    }

    /// Whether it offers a service, exactly this version of it.
    pub fn offers(&self, namespace: &str) -> bool {
        self.place_of(namespace).is_some()
    }

    /// Asks who made it.
    pub async fn information(&self) -> Result<Information, ClientError> {
        let name = "GetDeviceInformation";
        let answer = self
            .call(namespace::DEVICE, name, |writer| writer.empty("tds:GetDeviceInformation", &[]))
            .await?;
        let text = |name: &str| answer.text_at(&[name]).unwrap_or_default().chars().take(128).collect();
        Ok(Information {
            manufacturer: text("Manufacturer"),
            model: text("Model"),
            firmware: text("FirmwareVersion"),
            serial: text("SerialNumber"),
            hardware: text("HardwareId"),
        })
    }

    fn place_of(&self, namespace: &str) -> Option<&Url> {
        if namespace == namespace::DEVICE {
            return Some(&self.0.place);
        }
        self.0.services.iter().find(|service| service.namespace == namespace).map(|service| &service.place)
    }

    /// Calls a service that the device must offer.
    pub(super) async fn call(
        &self,
        namespace: &'static str,
        name: &'static str,
        body: impl Fn(&mut Writer),
    ) -> Result<Element, ClientError> {
        self.call_within(Limits::DEFAULT, namespace, name, body).await
    }

    /// The same for a call whose answer is read within other limits.
    pub(super) async fn call_within(
        &self,
        limits: Limits,
        namespace: &'static str,
        name: &'static str,
        body: impl Fn(&mut Writer),
    ) -> Result<Element, ClientError> {
        let place = self.place_of(namespace).ok_or(ClientError::NotOffered(service_name(namespace)))?;
        let call = self.0.plain(place, namespace, name, Login::AsBefore);
        self.0.with_clock(&Call { limits, ..call }, body).await
    }

    /// Makes a call of which everything is told.
    pub(super) async fn call_at(
        &self,
        call: &Call<'_>,
        body: impl Fn(&mut Writer),
    ) -> Result<Element, ClientError> {
        self.0.with_clock(call, body).await
    }

    /// Where a service, or a part of one, is reached that the device gave the address of.
    pub(super) fn place_at(&self, given: &str) -> Option<Url> {
        place::service(&self.0.place, given)
    }

    /// Where a stream is found that the device gave the address of.
    pub(super) fn stream_at(&self, given: &str) -> Option<Url> {
        place::stream(&self.0.place, given)
    }

    /// How long each request may take.
    pub(super) fn call_time(&self) -> Duration {
        self.0.call_time
    }
}

impl Inner {
    async fn call(
        &self,
        place: &Url,
        namespace: &str,
        name: &'static str,
        body: impl Fn(&mut Writer),
    ) -> Result<Element, ClientError> {
        let login = Login::AsBefore;
        self.with_clock(&self.plain(place, namespace, name, login), body).await
    }

    /// Makes a call. When the login is refused, the clock may have been set since it was read: then once more.
    async fn with_clock(&self, call: &Call<'_>, body: impl Fn(&mut Writer)) -> Result<Element, ClientError> {
        let refused = match self.caller.call(call, &body).await {
            Err(error @ ClientError::LoginRefused { .. }) => error,
            other => return other,
        };
        let Ok(Some(offset)) = self.read_clock().await else { return Err(refused) };
        let before = self.caller.clock_offset_ticks();
        if before.is_some_and(|before| before.abs_diff(offset) < CLOCK_MOVED_TICKS) {
            return Err(refused);
        }
        self.caller.set_clock_offset_ticks(Some(offset));
        self.caller.call(call, &body).await
    }

    fn plain<'a>(&self, place: &'a Url, namespace: &str, name: &'static str, login: Login) -> Call<'a> {
        let action = format!("{namespace}/{name}");
        let time = self.call_time;
        Call { name, action, place, references: None, to: None, time, login, limits: Limits::DEFAULT }
    }

    /// Ticks that the device's clock is ahead of ours; `None` when the answer does not say.
    async fn read_clock(&self) -> Result<Option<i64>, ClientError> {
        let call = self.plain(&self.place, namespace::DEVICE, "GetSystemDateAndTime", Login::WhenAsked);
        let before = tokio::time::Instant::now();
        let body = |writer: &mut Writer| writer.empty("tds:GetSystemDateAndTime", &[]);
        let answer = self.caller.call(&call, body).await?;
        let half = ticks_from_duration(before.elapsed() / 2);
        let Some(told) = clock(&answer) else { return Ok(None) };
        // It was read in the middle of the exchange, most likely, and in the middle of the second that it told.
        Ok(Some(told.plus(45_000).ticks_since(now().plus(-half))))
    }

    async fn read_services(&self) -> Result<Vec<Service>, ClientError> {
        let body = |writer: &mut Writer| {
            writer.within("tds:GetServices", |writer| writer.leaf("tds:IncludeCapability", "false"));
        };
        match self.call(&self.place, namespace::DEVICE, "GetServices", body).await {
            Ok(answer) => return Ok(self.services_of(&answer)),
            Err(error) if error.is_login() => return Err(error),
            // Devices from before 2010 know GetCapabilities only, and refuse in all manners.
            Err(ClientError::Refused { .. } | ClientError::Http { .. } | ClientError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        let body = |writer: &mut Writer| {
            writer.within("tds:GetCapabilities", |writer| writer.leaf("tds:Category", "All"));
        };
        let answer = self.call(&self.place, namespace::DEVICE, "GetCapabilities", body).await?;
        Ok(self.capabilities_of(&answer))
    }

    fn services_of(&self, answer: &Element) -> Vec<Service> {
        let service = |element: &Element| {
            let place = place::service(&self.place, element.text_at(&["XAddr"])?)?;
            let namespace = element.text_at(&["Namespace"])?.trim_end_matches('/').to_owned();
            Some(Service { namespace, place })
        };
        answer.children("Service").filter_map(service).take(SERVICES_MAX).collect()
    }

    fn capabilities_of(&self, answer: &Element) -> Vec<Service> {
        let paths: [(&[&str], &str); 6] = [
            (&["Media"], namespace::MEDIA),
            (&["Events"], namespace::EVENTS),
            (&["Extension", "Recording"], namespace::RECORDING),
            (&["Extension", "Search"], namespace::SEARCH),
            (&["Extension", "Replay"], namespace::REPLAY),
            (&["Extension", "Media2"], namespace::MEDIA2),
        ];
        let Some(capabilities) = answer.child("Capabilities") else { return Vec::new() };
        let service = |(path, namespace): &(&[&str], &str)| {
            let place = place::service(&self.place, capabilities.at(path)?.text_at(&["XAddr"])?)?;
            Some(Service { namespace: (*namespace).to_owned(), place })
        };
        paths.iter().filter_map(service).collect()
    }
}

/// The time in an answer to `GetSystemDateAndTime`.
fn clock(answer: &Element) -> Option<WallTime> {
    let date_time = answer.at(&["SystemDateAndTime", "UTCDateTime"])?;
    let number = |path: &[&str]| date_time.text_at(path)?.parse::<u16>().ok();
    let (year, month, day) =
        (number(&["Date", "Year"])?, number(&["Date", "Month"])?, number(&["Date", "Day"])?);
    let (hour, minute) = (number(&["Time", "Hour"])?, number(&["Time", "Minute"])?);
    // A leap second is told by no camera, but one counted to 60.
    let second = number(&["Time", "Second"])?.min(59);
    lexical::parse_date_time(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// What a service is called in a sentence.
fn service_name(namespace: &str) -> &'static str {
    match namespace {
        namespace::MEDIA | namespace::MEDIA2 => "media",
        namespace::EVENTS => "event",
        namespace::RECORDING => "recording",
        namespace::SEARCH => "search",
        namespace::REPLAY => "replay",
        _ => "device",
    }
}
