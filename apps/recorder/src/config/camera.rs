//! The rules of a camera's settings, one set for the configuration file and for the console.
//!
//! Where the values come from is a matter of [`CameraFields`]: a table of the file, with the place of each value, or a JSON
//! object, with the name of each field.

use std::collections::BTreeSet;

use keepwatch_model::CameraId;
use url::Url;

use super::address::{self, Address};
use super::text::{self, Complaint};
use super::{
    AlarmConfig, CameraConfig, CameraSource, Fingerprint, MediaTransport, Secret, Trigger, WeeklySpan, alarm,
    schedule,
};

/// Most entries of a schedule: each minute of a week needs fewer texts than these to be said.
const SCHEDULE_ENTRIES_MAX: usize = 200;

/// Where something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the value of a key, which may be missing.
    Key(&'static str),
    /// In one entry of a list, counted from 0.
    Entry(&'static str, usize),
}

/// Whether a camera can be recorded all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// It cannot.
    Error,
    /// It can, but something should be changed.
    Warning,
}

/// The settings of a camera as they stand somewhere.
pub trait CameraFields {
    /// How messages name the camera, like `[[camera]]`.
    const NAME: &'static str;

    /// The key by which a password is given: what stands there is read by whoever implements this.
    const PASSWORD: &'static str;

    /// How messages say where a password belongs.
    const PASSWORD_PLACE: &'static str;

    /// Whether `key` is there, whatever its value.
    fn has(&self, key: &'static str) -> bool;

    /// The text at `key`; `None` when it is not there or no text, which was complained of then.
    fn text(&mut self, key: &'static str) -> Option<String>;

    /// The texts at `key` with their positions; one text stands for a list of it.
    fn texts(&mut self, key: &'static str) -> Option<Vec<(usize, String)>>;

    /// `true` or `false` at `key`.
    fn boolean(&mut self, key: &'static str) -> Option<bool>;

    /// Something is wrong.
    fn complain(&mut self, place: Place, grade: Grade, complaint: Complaint);
}

/// A camera that keeps the rules, before its password is known.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraDraft {
    /// Its id.
    pub id: CameraId,
    /// Its name; `None` shows the id.
    pub name: Option<String>,
    /// Where its streams are found, without user and password.
    pub source: CameraSource,
    /// User to log in with.
    pub user: Option<String>,
    /// Password that stood in the address.
    pub password: Option<Secret>,
    /// How its media travels.
    pub transport: MediaTransport,
    /// The certificate that it must show; `None` takes any.
    pub certificate: Option<Fingerprint>,
    /// Whether its audio is recorded.
    pub audio: bool,
    /// Whether its metadata is recorded.
    pub metadata: bool,
    /// Age at which its footage is deleted; `None` takes the recorder's.
    pub retention: Option<std::time::Duration>,
    /// When it is recorded; empty means always.
    pub schedule: Vec<WeeklySpan>,
    /// When it is recorded within its schedule: on alarm, or `None` always.
    pub alarm: Option<AlarmConfig>,
}

/// Where a camera's streams are found, and the login that stood there.
struct Found {
    source: CameraSource,
    user: Option<String>,
    password: Option<Secret>,
    /// The key that says where.
    key: &'static str,
    /// How messages name it: "url" or "onvif address".
    shown: &'static str,
}

impl CameraDraft {
    /// Reads a camera, complaining of all that is wrong; `None` when it lacks what makes one. Use what is returned only
    /// when there was no error.
    pub fn read<F: CameraFields>(fields: &mut F) -> Option<Self> {
        let id = parsed(fields, "id", text::camera_id);
        let name = parsed(fields, "name", text::name);
        let found = source(fields, id);
        let user = parsed(fields, "user", text::user);
        let transport = parsed(fields, "transport", text::transport);
        let certificate = parsed(fields, "certificate", text::certificate);
        let audio = fields.boolean("audio");
        let metadata = fields.boolean("metadata");
        let retention = parsed(fields, "retention", text::retention);
        let schedule = weekly(fields);
        let on_alarm = on_alarm(fields);
        if !fields.has("id") {
            let what = format!("{} has no id", F::NAME);
            error(fields, Place::Key("id"), what, "add one of its own, like id = \"gate\"");
        }
        let Found { source, user: url_user, password, key, shown } = found?;
        if fields.has("user") && url_user.is_some() {
            let remedy = format!("take the user and password out of the {shown}");
            error(fields, Place::Key("user"), format!("the user stands here and in the {shown}"), remedy);
        }
        let user = user.or(url_user);
        let gives_password = fields.has(F::PASSWORD);
        if gives_password && user.is_none() && !fields.has("user") {
            let what = "there is a password but no user";
            error(fields, Place::Key(F::PASSWORD), what, "add user = \"...\"");
        }
        match (&password, gives_password) {
            (Some(_), true) => {
                let what = format!("the password stands here and in the {shown}");
                let remedy = format!("take the password out of the {shown}");
                error(fields, Place::Key(F::PASSWORD), what, remedy);
            }
            (Some(_), false) => fields.complain(
                Place::Key(key),
                Grade::Warning,
                Complaint::new(
                    format!("the {shown} holds a password, which anybody who sees this file can read"),
                    format!("move the user to user = \"...\" and the password to {}", F::PASSWORD_PLACE),
                ),
            ),
            (None, _) => {}
        }
        if certificate.is_some() && !shows_certificate(&source) {
            error(
                fields,
                Place::Key("certificate"),
                "a camera shows no certificate at an address without TLS",
                "write rtsps:// or https:// where it can, or leave certificate out",
            );
        }
        let heard = hears(&source, metadata.unwrap_or(false));
        if on_alarm.as_ref().is_some_and(AlarmConfig::listens) && fields.has(ALARM_ON) && !heard {
            error(
                fields,
                Place::Key(ALARM_ON),
                "nothing of what the camera notices is heard",
                "give the camera by onvif = \"http://...\", or set metadata = true, or write alarm_on = [\"api\"]",
            );
        }
        Some(Self {
            id: id?,
            name,
            source,
            user,
            password,
            transport: transport.unwrap_or_default(),
            certificate,
            audio: audio.unwrap_or(true),
            metadata: metadata.unwrap_or(false),
            retention,
            schedule,
            alarm: on_alarm,
        })
    }

    /// The camera with the password that stands elsewhere; without one, with that of the address.
    pub fn with_password(self, password: Option<Secret>) -> CameraConfig {
        let Self { id, name, source, user, password: of_address, transport, certificate, .. } = self;
        CameraConfig {
            id,
            name: name.unwrap_or_else(|| id.to_string()),
            source,
            user,
            password: password.or(of_address),
            transport,
            certificate,
            audio: self.audio,
            metadata: self.metadata,
            retention: self.retention,
            schedule: self.schedule,
            alarm: self.alarm,
        }
    }
}

/// The places that a camera's login is sent to: whether by TLS, host, and port.
pub(crate) fn places(source: &CameraSource) -> BTreeSet<(bool, String, u16)> {
    let place = |url: &Url| {
        let (secure, usual) = match url.scheme() {
            "rtsps" => (true, 322),
            "https" => (true, 443),
            "http" => (false, 80),
            _ => (false, 554),
        };
        (secure, url.host_str().unwrap_or_default().to_ascii_lowercase(), url.port().unwrap_or(usual))
    };
    match source {
        CameraSource::Rtsp { url, sub_url } => std::iter::once(url).chain(sub_url).map(place).collect(),
        CameraSource::Onvif { url, .. } => std::iter::once(place(url)).collect(),
        CameraSource::Edge { .. } => BTreeSet::new(),
    }
}

fn error(fields: &mut impl CameraFields, place: Place, what: impl Into<String>, remedy: impl Into<String>) {
    fields.complain(place, Grade::Error, Complaint::new(what, remedy));
}

/// The text at `key`, turned into a value.
fn parsed<T>(
    fields: &mut impl CameraFields,
    key: &'static str,
    parse: impl Fn(&str) -> Result<T, Complaint>,
) -> Option<T> {
    match parse(&fields.text(key)?) {
        Ok(value) => Some(value),
        Err(complaint) => {
            fields.complain(Place::Key(key), Grade::Error, complaint);
            None
        }
    }
}

/// Whether what a camera notices is heard: at its pull point, or in its metadata.
pub(crate) const fn hears(source: &CameraSource, metadata: bool) -> bool {
    match source {
        CameraSource::Onvif { events: true, .. } => true,
        CameraSource::Onvif { events: false, .. } | CameraSource::Rtsp { .. } => metadata,
        CameraSource::Edge { .. } => false,
    }
}

/// The key of what triggers an alarm.
const ALARM_ON: &str = "alarm_on";

/// `recording` with `pre_alarm`, `post_alarm` and `alarm_on`; `None` for a camera that is recorded all the time.
fn on_alarm<F: CameraFields>(fields: &mut F) -> Option<AlarmConfig> {
    let is_on_alarm = parsed(fields, "recording", |text| match text {
        "continuous" => Ok(false),
        "alarm" => Ok(true),
        _ => Err(Complaint::new(
            format!("{} is no way to record", text::quoted(text)),
            "write \"continuous\" or \"alarm\"",
        )),
    });
    let usual = AlarmConfig::default();
    let pre = parsed(fields, "pre_alarm", alarm::pre).unwrap_or(usual.pre);
    let post = parsed(fields, "post_alarm", alarm::post).unwrap_or(usual.post);
    let on = triggers(fields).unwrap_or(usual.on);
    if is_on_alarm != Some(true) {
        for key in ["pre_alarm", "post_alarm", ALARM_ON] {
            if fields.has(key) {
                let what = format!("{key} is for a camera that is recorded on alarm");
                error(fields, Place::Key(key), what, "write recording = \"alarm\", or take it out");
            }
        }
        return None;
    }
    Some(AlarmConfig { pre, post, on })
}

/// The list of `alarm_on`.
fn triggers<F: CameraFields>(fields: &mut F) -> Option<Vec<Trigger>> {
    let entries = fields.texts(ALARM_ON)?;
    if entries.is_empty() {
        error(
            fields,
            Place::Key(ALARM_ON),
            "alarm_on is an empty list",
            "leave alarm_on out for the usual triggers",
        );
        return None;
    }
    if let Err(complaint) = alarm::check_count(entries.len()) {
        fields.complain(Place::Key(ALARM_ON), Grade::Error, complaint);
        return None;
    }
    let mut on = Vec::new();
    for (position, entry) in entries {
        match Trigger::read(&entry) {
            Ok(trigger) if on.contains(&trigger) => {}
            Ok(trigger) => on.push(trigger),
            Err(complaint) => fields.complain(Place::Entry(ALARM_ON, position), Grade::Error, complaint),
        }
    }
    Some(on).filter(|on| !on.is_empty())
}

fn weekly(fields: &mut impl CameraFields) -> Vec<WeeklySpan> {
    const KEY: &str = "schedule";
    let Some(entries) = fields.texts(KEY) else { return Vec::new() };
    if entries.is_empty() {
        let remedy = "leave schedule out to record always";
        error(fields, Place::Key(KEY), "schedule is an empty list", remedy);
    }
    if entries.len() > SCHEDULE_ENTRIES_MAX {
        let what = format!("schedule has more than {SCHEDULE_ENTRIES_MAX} entries");
        error(fields, Place::Key(KEY), what, "join those that touch each other");
        return Vec::new();
    }
    let mut spans = Vec::new();
    for (position, entry) in entries {
        match schedule::entry(&entry) {
            Ok(of_entry) => spans.extend(of_entry),
            Err(complaint) => fields.complain(Place::Entry(KEY, position), Grade::Error, complaint),
        }
    }
    schedule::merge(spans)
}

/// What is set where a camera is recorded, and is said by an edge node's own configuration.
const SET_AT_THE_NODE: [&str; 14] = [
    "url",
    "sub_url",
    "onvif",
    "events",
    "user",
    "transport",
    "certificate",
    "audio",
    "metadata",
    "schedule",
    "recording",
    "pre_alarm",
    "post_alarm",
    "alarm_on",
];

/// A camera that an edge node records: `edge` with `sub`.
fn edge<F: CameraFields>(
    fields: &mut F,
    said: Option<(String, Option<CameraId>)>,
    id: Option<CameraId>,
) -> Option<Found> {
    let sub = fields.boolean("sub").unwrap_or(false);
    // Read, so that they count as known; what they say is of no use.
    for key in ["url", "sub_url", "onvif"] {
        let _ = fields.text(key);
    }
    let _ = fields.boolean("events");
    for key in SET_AT_THE_NODE.into_iter().chain([F::PASSWORD]) {
        if fields.has(key) {
            let what = format!("{key} is for a camera that this recorder receives");
            let remedy = "set it at the edge node, which records the camera, or take edge out";
            error(fields, Place::Key(key), what, remedy);
        }
    }
    let (node, camera) = said?;
    let source = CameraSource::Edge { node, camera: camera.or(id)?, sub };
    Some(Found { source, user: None, password: None, key: "edge", shown: "edge node" })
}

/// Where the streams are found: `url` with `sub_url`, or `onvif` with `sub` and `events`, or `edge`.
fn source<F: CameraFields>(fields: &mut F, id: Option<CameraId>) -> Option<Found> {
    let said = parsed(fields, "edge", text::edge_camera);
    if fields.has("edge") {
        return edge(fields, said, id);
    }
    let (has_url, has_onvif) = (fields.has("url"), fields.has("onvif"));
    let url = parsed(fields, "url", address::stream);
    let sub_url = parsed(fields, "sub_url", address::stream);
    let onvif = parsed(fields, "onvif", address::device);
    let sub = fields.boolean("sub");
    let events = fields.boolean("events");
    match (has_url, has_onvif) {
        (true, true) => {
            error(
                fields,
                Place::Key("onvif"),
                "the camera has a url and an onvif address",
                "take one out: an onvif camera says where its streams are",
            );
            None
        }
        (false, false) => {
            error(
                fields,
                Place::Key("url"),
                format!("{} has no url", F::NAME),
                "add the address of its stream, like url = \"rtsp://192.0.2.10/stream\", or of the camera, like \
                 onvif = \"http://192.0.2.10\", or the edge node that records it, like edge = \"box\"",
            );
            None
        }
        (true, false) => {
            for (key, remedy) in [
                ("sub", "write sub_url = \"rtsp://...\" instead"),
                ("events", "give the camera by onvif = \"http://...\", or take it out"),
            ] {
                if fields.has(key) {
                    let what = format!("{key} is for a camera with an onvif address");
                    error(fields, Place::Key(key), what, remedy);
                }
            }
            let Address { url, user, password } = url?;
            let sub_url = sub_url.and_then(|sub| second(fields, &url, (&user, &password), sub));
            let source = CameraSource::Rtsp { url, sub_url };
            Some(Found { source, user, password, key: "url", shown: "url" })
        }
        (false, true) => {
            if fields.has("sub_url") {
                let remedy = "write sub = true: the camera says where its sub stream is";
                error(fields, Place::Key("sub_url"), "sub_url is for a camera with a url", remedy);
            }
            let Address { url, user, password } = onvif?;
            let (sub, events) = (sub.unwrap_or(false), events.unwrap_or(true));
            let source = CameraSource::Onvif { url, sub, events };
            Some(Found { source, user, password, key: "onvif", shown: "onvif address" })
        }
    }
}

/// The address of the second stream beside that of the first, at which this `login` stood.
fn second<F: CameraFields>(
    fields: &mut F,
    url: &Url,
    login: (&Option<String>, &Option<Secret>),
    sub: Address,
) -> Option<Url> {
    const PLACE: Place = Place::Key("sub_url");
    let (user, password) = login;
    let foreign =
        (sub.user.is_some() && sub.user != *user) || (sub.password.is_some() && sub.password != *password);
    if foreign {
        let remedy = format!("take it out: one user and one {} hold for both streams", F::PASSWORD);
        error(fields, PLACE, "the sub_url holds a login of its own", remedy);
        return None;
    }
    if sub.url == *url {
        error(fields, PLACE, "sub_url is the same as url", "write the address of the smaller stream");
        return None;
    }
    Some(sub.url)
}

/// Whether anything of the camera is reached over TLS. The streams of an ONVIF camera may be, whatever its address.
fn shows_certificate(source: &CameraSource) -> bool {
    match source {
        CameraSource::Rtsp { url, sub_url } => {
            url.scheme() == "rtsps" || sub_url.as_ref().is_some_and(|url| url.scheme() == "rtsps")
        }
        CameraSource::Onvif { .. } => true,
        CameraSource::Edge { .. } => false,
    }
}
