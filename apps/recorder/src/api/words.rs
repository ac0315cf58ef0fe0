//! The words that fields of the API can be, for its description: the values themselves are made where they are decided.

use utoipa::ToSchema;

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident { $($variant:ident),+ $(,)? })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(ToSchema)]
            #[schema(rename_all = "snake_case")]
            #[expect(dead_code, reason = "it describes, and is never made")]
            pub(super) enum $name { $($variant),+ }
        )+
    };
}

words! {
    /// A stream of a camera.
    StreamName { Main, Sub }

    /// How media travels: over TCP, over UDP, or over UDP only where the camera refuses TCP.
    Transport { Auto, Tcp, Udp }

    /// How media came.
    Carrier { Tcp, Udp }

    /// How the connection of a stream stands.
    ConnectionState { Unwanted, Waiting, Connecting, Connected, Armed, Recording, Relayed }

    /// When a camera is recorded within its schedule.
    RecordingMode { Continuous, Alarm }

    /// Whether a camera that is recorded on alarm waits for one, or is recorded for one.
    AlarmState { Waiting, Recording }

    /// Whether what triggers an alarm is heard; `null` for one that only the API raises.
    TriggersState { Heard, Unheard }

    /// What is done with a camera of another recorder: nothing, its newest footage is held in memory, it is recorded.
    GuestDuty { Rest, Buffer, Record }

    /// Whether a camera's events are heard.
    EventsState { Heard, Waiting }

    /// What is recorded of a stream.
    TrackName { H264, H265, Jpeg, Pcmu, Pcma, Aac, Metadata }

    /// Why footage is missing.
    GapReason {
        CameraSilent, ConnectionLost, ConnectionRefused, StreamUnusable, KeyFrameMissing, PacketsLost, DiskFull,
        DiskGone, DiskSlow, RecorderDown, Overwritten, Damaged, LoginRefused, NotSent, EdgeFailed,
    }

    /// What is known of a stretch of time.
    CoverageState { Held, Gap, Expired, Unscheduled, NoAlarm, Unknown }

    /// Why a stretch is a gap or unknown.
    CoverageReason {
        CameraSilent, ConnectionLost, ConnectionRefused, StreamUnusable, KeyFrameMissing, PacketsLost, DiskFull,
        DiskGone, DiskSlow, RecorderDown, Overwritten, Damaged, LoginRefused, NotSent, EdgeFailed, DiskAbsent, NotYet,
        NotConfigured, ClockStepped,
    }

    /// Where held footage came from.
    OriginName { Primary, Standby, Edge }

    /// How far footage that another has is fetched.
    BackfillName { Pending, Running, Done }

    /// How a disk stands.
    DiskStateName { Online, Gone, ReadOnly, Full, Foreign }

    /// What a disk is for.
    DiskRoleName { Recordings, Edge, Second }

    /// Whether all that should be recorded is.
    HealthState { Ok, Degraded }

    /// How much an event matters.
    SeverityName { Info, Warning, Critical }

    /// Where an export job is.
    ExportState { Waiting, Running, Done, Failed, Cancelled }

    /// What an event is about.
    SubjectKind { Node, Camera, Disk, User }
}
