//! A camera as it is asked for over the API, as it is kept, and as the recorder is told.

use keepwatch_settings::{CameraEntry, Key};
use serde_json::{Map, Value};

use super::FieldError;
use super::fields::JsonFields;
use crate::config::camera::{CameraDraft, CameraFields, places};
use crate::config::text;
use crate::config::{CameraConfig, CameraSource, MediaTransport, Secret, show_schedule, units};

/// What is to become of a camera's password.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PasswordWish {
    /// It stays.
    Keep,
    /// There is to be none.
    Remove,
    /// It is to be this one.
    Set(Secret),
}

/// A camera that is asked for and keeps the rules.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CameraWish {
    /// All but the password.
    pub(crate) draft: CameraDraft,
    /// The password.
    pub(crate) password: PasswordWish,
}

impl CameraWish {
    /// Reads what was sent. A `password` that is missing stays, `null` removes it.
    pub(crate) fn read(object: &Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        let mut fields = JsonFields::new(object);
        let draft = CameraDraft::read(&mut fields);
        let given = fields.text(JsonFields::PASSWORD);
        let password = match given.map(|given| text::password(&given)) {
            Some(Ok(password)) => PasswordWish::Set(Secret::new(password)),
            Some(Err(complaint)) => {
                fields.error(JsonFields::PASSWORD, &complaint);
                PasswordWish::Keep
            }
            None if object.contains_key(JsonFields::PASSWORD) => PasswordWish::Remove,
            None => PasswordWish::Keep,
        };
        match (fields.finish(), draft) {
            (errors, Some(mut draft)) if errors.is_empty() => {
                // A password that stood in the address is sealed like any other.
                let password = match draft.password.take() {
                    Some(of_address) => PasswordWish::Set(of_address),
                    None => password,
                };
                Ok(Self { draft, password })
            }
            (errors, _) => Err(errors),
        }
    }

    /// Whether a password that is kept would go where it never went: whoever may change the address of a camera must not
    /// learn its password by that.
    pub(crate) fn strays(&self, before: &CameraConfig) -> bool {
        let known = places(&before.source);
        self.password == PasswordWish::Keep && !places(&self.draft.source).is_subset(&known)
    }
}

/// The complaint about a password that would go elsewhere.
pub(crate) fn password_wanted() -> FieldError {
    FieldError {
        field: JsonFields::PASSWORD.to_owned(),
        detail: "the camera has another address now, and its password is not sent there unasked; enter the password again, \
                 or null for none"
            .to_owned(),
    }
}

/// The texts of `draft`, as the console shows them and they are kept; without a password.
pub(crate) fn entry(draft: &CameraDraft) -> CameraEntry {
    let mut entry = CameraEntry::new(draft.id);
    entry.name.clone_from(&draft.name);
    match &draft.source {
        CameraSource::Rtsp { url, sub_url } => {
            entry.url = Some(url.to_string());
            entry.sub_url = sub_url.as_ref().map(ToString::to_string);
        }
        CameraSource::Onvif { url, sub, events } => {
            entry.onvif = Some(url.to_string());
            entry.sub = Some(*sub);
            entry.events = Some(*events);
        }
        CameraSource::Edge { node, camera, sub } => {
            entry.edge = Some(if *camera == draft.id { node.clone() } else { format!("{node}/{camera}") });
            entry.sub = Some(*sub);
            // What is set at the node stands in no entry.
            entry.retention = draft.retention.map(units::show_duration);
            return entry;
        }
    }
    entry.user.clone_from(&draft.user);
    let transport = match draft.transport {
        MediaTransport::Auto => "auto",
        MediaTransport::Tcp => "tcp",
        MediaTransport::Udp => "udp",
    };
    entry.transport = Some(transport.to_owned());
    entry.certificate = draft.certificate.map(|certificate| certificate.to_string());
    entry.audio = Some(draft.audio);
    entry.metadata = Some(draft.metadata);
    entry.retention = draft.retention.map(units::show_duration);
    entry.schedule = Some(show_schedule(&draft.schedule)).filter(|entries| !entries.is_empty());
    if let Some(alarm) = &draft.alarm {
        entry.recording = Some("alarm".to_owned());
        entry.pre_alarm = Some(units::show_duration(alarm.pre));
        entry.post_alarm = Some(units::show_duration(alarm.post));
        entry.alarm_on = Some(alarm.on.iter().map(|trigger| trigger.show().to_owned()).collect());
    }
    entry
}

/// The camera of the configuration file as an entry that shows it.
pub(crate) fn entry_of_file(config: &CameraConfig) -> CameraEntry {
    let CameraConfig { id, name, source, user, transport, certificate, .. } = config.clone();
    entry(&CameraDraft {
        id,
        name: Some(name).filter(|name| *name != id.as_str()),
        source,
        user,
        password: None,
        transport,
        certificate,
        audio: config.audio,
        metadata: config.metadata,
        retention: config.retention,
        schedule: config.schedule.clone(),
        alarm: config.alarm.clone(),
    })
}

/// The camera that `entry` describes, without its password.
pub(crate) fn draft(entry: &CameraEntry) -> Result<CameraDraft, Vec<FieldError>> {
    let value = serde_json::to_value(CameraEntry { password: None, ..entry.clone() });
    let Ok(Value::Object(object)) = value else {
        let detail = "the camera has no JSON form; remove it and add it again".to_owned();
        return Err(vec![FieldError { field: "id".to_owned(), detail }]);
    };
    CameraWish::read(&object).map(|wish| wish.draft)
}

/// What the recorder is told of `entry`, and why its password cannot be used, if so. A camera whose password is lost is
/// dialled without a login: with a wrong one it might lock its user.
pub(crate) fn camera(
    entry: &CameraEntry,
    key: Option<&Key>,
) -> Result<(CameraConfig, Option<String>), Vec<FieldError>> {
    let mut draft = draft(entry)?;
    let (password, problem) = match (&entry.password, key) {
        (None, _) => (None, None),
        (Some(sealed), Some(key)) => match sealed.open(key, &entry.object()) {
            Ok(password) => (Some(Secret::new(password)), None),
            Err(error) => (None, Some(error.to_string())),
        },
        (Some(_), None) => (None, Some("the key is not there".to_owned())),
    };
    if problem.is_some() {
        draft.user = None;
    }
    Ok((draft.with_password(password), problem))
}
