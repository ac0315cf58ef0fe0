//! Events and alarms: what an operator reads afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{CameraId, WallTime};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For the record.
    Info,
    /// Worth waking someone.
    Warning,
    /// Footage is being lost.
    Critical,
}

macro_rules! event_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $severity:ident;)+) => {
        /// What happened. The text of a code is stable; `docs/ref/events.md` lists them all.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum EventCode {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)+
        }

        impl EventCode {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// How much it matters.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity),+ }
            }
        }
    };
}

event_codes! {
    /// The node began to run.
    NodeStarted = "node_started", Info;
    /// The node was asked to stop and did.
    NodeStopped = "node_stopped", Info;
    /// A changed configuration took effect.
    ConfigApplied = "config_applied", Info;
    /// A changed configuration was refused; the old one stays.
    ConfigRefused = "config_refused", Warning;
    /// The node made itself a certificate for TLS.
    CertificateMade = "certificate_made", Info;
    /// The operator's certificate changed, and the changed one is shown.
    CertificateTaken = "certificate_taken", Info;
    /// The operator's certificate changed and cannot be used; the one before is still shown.
    CertificateUnusable = "certificate_unusable", Warning;
    /// Somebody added a camera in the console.
    CameraAdded = "camera_added", Info;
    /// Somebody changed a camera in the console.
    CameraChanged = "camera_changed", Info;
    /// Somebody removed a camera in the console.
    CameraRemoved = "camera_removed", Info;
    /// Not all that is edited in the console can be used; cameras may not be recorded.
    SettingsUnusable = "settings_unusable", Critical;
    /// A standby was registered, and may record in this recorder's place.
    StandbyRegistered = "standby_registered", Info;
    /// A standby was removed: it watches this recorder no more.
    StandbyRemoved = "standby_removed", Warning;
    /// An edge node was registered, and sends here what it records.
    EdgeNodeRegistered = "edge_node_registered", Info;
    /// What this node sends to a recorder cannot be read: nothing is sent.
    EdgeUnusable = "edge_unusable", Critical;
    /// An edge node buffers, replenishes, or does without one of its storages.
    EdgeCase = "edge_case", Warning;
    /// Local storage of an edge node is filled with footage that is not outside.
    EdgeBufferFilling = "edge_buffer_filling", Warning;
    /// Soon an edge node overwrites footage that is not outside.
    EdgeOverflowAhead = "edge_overflow_ahead", Critical;
    /// Footage of an edge node went before it was outside.
    EdgeFootageLost = "edge_footage_lost", Critical;
    /// A camera of an edge node falls behind.
    EdgeOverloaded = "edge_overloaded", Warning;
    /// The limits of a camera of an edge node never let all of its footage leave.
    EdgeNeverDepletes = "edge_never_depletes", Warning;
    /// The clocks of an edge node and of its external storage differ.
    EdgeClockOff = "edge_clock_off", Warning;
    /// An alarm of an edge node is clear again.
    EdgeAlarmCleared = "edge_alarm_cleared", Info;
    /// An edge node was removed: nothing more of it is taken.
    EdgeNodeRemoved = "edge_node_removed", Warning;
    /// This recorder took the role of another one, with its configuration.
    RoleTaken = "role_taken", Warning;
    /// Another recorder plays the role of this one: it was replaced.
    RoleSuperseded = "role_superseded", Warning;
    /// What is known of other nodes cannot be read: no standby is answered.
    NodesUnreadable = "nodes_unreadable", Warning;
    /// The node made itself the key that it signs exports with.
    SigningKeyMade = "signing_key_made", Info;
    /// A camera's frames reach the disk.
    RecordingStarted = "recording_started", Info;
    /// A camera is not being recorded.
    RecordingStopped = "recording_stopped", Critical;
    /// The sub stream of a camera reaches the disk.
    SubStreamStarted = "sub_stream_started", Info;
    /// The sub stream of a camera is not being recorded; its main stream is another matter.
    SubStreamStopped = "sub_stream_stopped", Warning;
    /// Something that a camera offers cannot be recorded, and is left out.
    TrackLeftOut = "track_left_out", Warning;
    /// The camera changed its parameter sets; no frame was lost.
    ParametersChanged = "parameters_changed", Info;
    /// The camera's timestamps jumped; no frame was lost.
    TimestampJumped = "timestamp_jumped", Warning;
    /// The camera's clock is more than 5 s from the recorder's.
    CameraClockOff = "camera_clock_off", Warning;
    /// The camera's clock agrees with the recorder's again.
    CameraClockRight = "camera_clock_right", Info;
    /// Something moves before a camera.
    CameraMotionStarted = "camera_motion_started", Info;
    /// Nothing moves any more.
    CameraMotionEnded = "camera_motion_ended", Info;
    /// A camera was covered, turned, blinded or put out of focus.
    CameraTampered = "camera_tampered", Warning;
    /// A camera sees as before again.
    CameraTamperEnded = "camera_tamper_ended", Info;
    /// A camera gets no picture from its source.
    CameraSignalLost = "camera_signal_lost", Warning;
    /// A camera gets pictures from its source again.
    CameraSignalReturned = "camera_signal_returned", Info;
    /// Something else that a camera noticed.
    CameraEvent = "camera_event", Info;
    /// A camera is recorded because of an alarm.
    AlarmBegan = "alarm_began", Info;
    /// It waits for the next one.
    AlarmEnded = "alarm_ended", Info;
    /// What triggers the alarms of a camera cannot be heard: it is recorded all the time.
    AlarmUnheard = "alarm_unheard", Warning;
    /// It is heard again.
    AlarmHeard = "alarm_heard", Info;
    /// Packets of a camera did not arrive.
    PacketsLost = "packets_lost", Warning;
    /// The recorder's clock was set.
    ClockStepped = "clock_stepped", Warning;
    /// A line of the node fails: it or a link of its bundle.
    LineFailed = "line_failed", Warning;
    /// A line that failed is well again.
    LineReturned = "line_returned", Info;
    /// A disk was taken into use for the first time.
    DiskAdopted = "disk_adopted", Info;
    /// A disk is in use again.
    DiskReturned = "disk_returned", Info;
    /// A disk cannot be used.
    DiskGone = "disk_gone", Critical;
    /// A disk can be read and not written.
    DiskReadOnly = "disk_read_only", Critical;
    /// A disk is too slow for its cameras.
    DiskSlow = "disk_slow", Critical;
    /// A disk is full of protected footage.
    DiskFull = "disk_full", Critical;
    /// Footage was overwritten before its retention ended.
    FootageOverwritten = "footage_overwritten", Warning;
    /// Footage of a gap was fetched from elsewhere.
    FootageFilled = "footage_filled", Info;
    /// The store was recovered after it had not been closed.
    StoreRecovered = "store_recovered", Info;
    /// Footage on disk does not match its checksum.
    FootageDamaged = "footage_damaged", Critical;
    /// Footage was protected against deletion.
    FootageProtected = "footage_protected", Info;
    /// A protection was lifted.
    FootageReleased = "footage_released", Info;
    /// Somebody logged in.
    LoginSucceeded = "login_succeeded", Info;
    /// A login was refused.
    LoginFailed = "login_failed", Warning;
    /// Footage left the system.
    FootageExported = "footage_exported", Info;
    /// The end of the audit log, so that a cut tail is noticed.
    AuditHead = "audit_head", Info;
    /// The audit log cannot be written.
    AuditFailed = "audit_failed", Warning;
    /// The audit log is written again.
    AuditWritten = "audit_written", Info;
    /// Another recorder was put under the watch of this standby.
    PrimaryRegistered = "primary_registered", Info;
    /// It is watched no more.
    PrimaryRemoved = "primary_removed", Info;
    /// Another recorder plays the role of a primary.
    PrimaryReplaced = "primary_replaced", Warning;
    /// A primary failed: it does not answer, or records nothing.
    PrimaryFailed = "primary_failed", Critical;
    /// A primary that had failed answers again.
    PrimaryReturned = "primary_returned", Info;
    /// A primary is of another version than its standby.
    PrimaryVersionDiffers = "primary_version_differs", Warning;
    /// It is of the same version again.
    PrimaryVersionAgrees = "primary_version_agrees", Info;
    /// This standby records in the place of a primary.
    FailoverStarted = "failover_started", Warning;
    /// A failover is due, and this standby can record no more.
    FailoverWaits = "failover_waits", Critical;
    /// Nobody can be asked whether another standby covers the same primary.
    FailoverUnconfirmed = "failover_unconfirmed", Warning;
    /// Not all cameras of a primary are recorded here, so whoever records them all may cover it.
    FailoverIncomplete = "failover_incomplete", Warning;
    /// The failover is known to those who may be asked.
    FailoverConfirmed = "failover_confirmed", Info;
    /// Another standby covers the primary.
    FailoverLeft = "failover_left", Info;
    /// A failover ended.
    FailoverEnded = "failover_ended", Info;
    /// This standby records one camera that its primary, which lives, does not.
    CameraCovered = "camera_covered", Warning;
    /// The primary records the camera again.
    CameraReturned = "camera_returned", Info;
    /// Somebody chose who starts the failover of a primary.
    FailoverModeChanged = "failover_mode_changed", Info;
    /// A drill recorded all cameras of a primary.
    DrillPassed = "drill_passed", Info;
    /// A drill did not record all cameras of a primary.
    DrillFailed = "drill_failed", Warning;
    /// Part of what the standby keeps cannot be used.
    StandbyBookDamaged = "standby_book_damaged", Warning;
    /// Cameras of a primary cannot be taken up to be recorded here.
    GuestsRefused = "guests_refused", Warning;
    /// What the standby keeps cannot be read: it watches nobody.
    StandbyUnusable = "standby_unusable", Critical;
    /// The configuration of a primary was fetched and differs from the one before.
    SetupBackedUp = "setup_backed_up", Info;
    /// The configuration of a primary cannot be fetched or kept.
    SetupBackupFailed = "setup_backup_failed", Warning;
}

impl fmt::Display for EventCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum Subject {
    /// The node itself.
    Node,
    /// A camera.
    Camera(CameraId),
    /// A disk, by its configured path.
    Disk(String),
    /// A user or an address.
    User(String),
}

/// One line of the event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub at: WallTime,
    /// What happened.
    pub code: EventCode,
    /// What it is about.
    pub subject: Subject,
    /// A sentence for an operator: what, since when, what it costs, what to do.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_speak_as_they_are_stored() {
        let mut texts: Vec<_> = EventCode::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), EventCode::ALL.len());
    }
}
