//! What the audit log knows that people do.

use std::fmt;

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// What somebody did. The text of an action is stable; `docs/guide/users.md` lists them all.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Action {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Action {
            /// All actions.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The action as text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

actions! {
    /// The first administrator was made.
    SetUp = "set_up";
    /// Somebody logged in.
    LoggedIn = "logged_in";
    /// A login was refused.
    LoginRefused = "login_refused";
    /// Somebody logged out.
    LoggedOut = "logged_out";
    /// A session of one's own or of somebody else was ended.
    SessionEnded = "session_ended";
    /// A user was made.
    UserCreated = "user_created";
    /// A user's roles or password were changed by an administrator.
    UserChanged = "user_changed";
    /// A user was removed.
    UserRemoved = "user_removed";
    /// A user changed their password.
    PasswordChanged = "password_changed";
    /// An API token was made.
    TokenCreated = "token_created";
    /// An API token was revoked.
    TokenRevoked = "token_revoked";
    /// A camera was added.
    CameraCreated = "camera_created";
    /// A camera's settings were changed.
    CameraChanged = "camera_changed";
    /// A camera was removed.
    CameraRemoved = "camera_removed";
    /// A camera's login was tried out, or cameras were looked for.
    CameraTested = "camera_tested";
    /// An alarm was raised at a camera that is recorded on alarm.
    AlarmRaised = "alarm_raised";
    /// Recorders were put under the watch of this standby.
    PrimaryRegistered = "primary_registered";
    /// A primary's mode, priority or pre-buffer was changed.
    PrimaryChanged = "primary_changed";
    /// A primary was taken off the Monitoring list.
    PrimaryRemoved = "primary_removed";
    /// Another recorder was given the role of a primary.
    PrimaryReplaced = "primary_replaced";
    /// Recorders were looked for.
    RecordersSearched = "recorders_searched";
    /// The setup of the standby was changed.
    FailoverSetUp = "failover_set_up";
    /// A failover was started by hand.
    FailoverStarted = "failover_started";
    /// A running failover was stopped.
    FailoverStopped = "failover_stopped";
    /// A failover was tested.
    FailoverDrilled = "failover_drilled";
    /// The role was to be given back to the repaired primary.
    FailbackStarted = "failback_started";
    /// An earlier state of the settings was restored.
    RevisionRestored = "revision_restored";
    /// The filling of gaps from elsewhere was paused, taken up again or limited.
    ReplenishmentSet = "replenishment_set";
    /// A standby was registered, and may record in this recorder's place.
    StandbyRegistered = "standby_registered";
    /// A standby was removed.
    StandbyRemoved = "standby_removed";
    /// A token was made with which a standby registers once.
    StandbyTokenCreated = "standby_token_created";
    /// An edge node was registered, and sends here what it records.
    EdgeNodeRegistered = "edge_node_registered";
    /// An edge node was removed.
    EdgeNodeRemoved = "edge_node_removed";
    /// A token was made with which an edge node registers once.
    EdgeTokenCreated = "edge_token_created";
    /// This node was told where to send what it records.
    EdgeRecorderSet = "edge_recorder_set";
    /// The limit of a camera was set at which it is sent, or taken back.
    EdgeLimitSet = "edge_limit_set";
    /// This node sends nowhere any more.
    EdgeRecorderRemoved = "edge_recorder_removed";
    /// This recorder took the role of another one, with its configuration.
    RoleTaken = "role_taken";
    /// A standby told that this recorder was replaced.
    RoleSuperseded = "role_superseded";
    /// Footage left the system.
    FootageExported = "footage_exported";
    /// Footage was protected.
    FootageProtected = "footage_protected";
    /// A protection was lifted.
    FootageReleased = "footage_released";
    /// Somebody watched a camera live; the first time in an hour.
    LiveViewed = "live_viewed";
    /// Somebody looked at footage of a camera; the first time in an hour.
    PlaybackViewed = "playback_viewed";
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
