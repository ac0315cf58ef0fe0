//! The services of a device: their namespaces, paths and capabilities, and who may call what.

use crate::namespace;
use crate::xml::{Element, Writer};

use super::backend::{Backend, UserLevel};
use super::call::Call;
use super::{PULL_POINTS_MAX, management};

/// One service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// devicemgmt.wsdl.
    Device,
    /// media.wsdl, version 1.
    Media,
    /// media.wsdl, version 2: knows H.265.
    Media2,
    /// events.wsdl.
    Events,
    /// recording.wsdl.
    Recording,
    /// search.wsdl.
    Search,
    /// replay.wsdl.
    Replay,
}

/// What a user must be to make a call (ONVIF Core "Default access policy").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nobody: the call comes before the login.
    Open,
    /// At least this.
    Needs(UserLevel),
}

impl Service {
    const ALL: [Self; 7] =
        [Self::Device, Self::Media, Self::Media2, Self::Events, Self::Recording, Self::Search, Self::Replay];

    /// The services of this device.
    pub(crate) fn offered(backend: &dyn Backend) -> impl Iterator<Item = Self> {
        let recordings = backend.has_recordings();
        Self::ALL.into_iter().filter(move |service| recordings || !service.is_of_recordings())
    }

    const fn is_of_recordings(self) -> bool {
        matches!(self, Self::Recording | Self::Search | Self::Replay)
    }

    /// The service that an operation belongs to; `None` when this device has none such.
    pub(crate) fn of(backend: &dyn Backend, operation: &Element) -> Option<Self> {
        let own = operation.namespace.as_deref()?;
        // Renewing and ending a subscription come from WS-BaseNotification.
        if namespace::same(own, namespace::NOTIFICATION) {
            return Some(Self::Events);
        }
        // Exactly first: the two media services differ in nothing but the version.
        let exact = Self::offered(backend).find(|service| service.namespace() == own);
        exact.or_else(|| Self::offered(backend).find(|service| namespace::same(service.namespace(), own)))
    }

    /// Its namespace.
    pub(crate) const fn namespace(self) -> &'static str {
        match self {
            Self::Device => namespace::DEVICE,
            Self::Media => namespace::MEDIA,
            Self::Media2 => namespace::MEDIA2,
            Self::Events => namespace::EVENTS,
            Self::Recording => namespace::RECORDING,
            Self::Search => namespace::SEARCH,
            Self::Replay => namespace::REPLAY,
        }
    }

    /// Where it is found.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            // ONVIF Core "Device service": this path is prescribed.
            Self::Device => "/onvif/device_service",
            Self::Media => "/onvif/media_service",
            Self::Media2 => "/onvif/media2_service",
            Self::Events => "/onvif/event_service",
            Self::Recording => "/onvif/recording_service",
            Self::Search => "/onvif/search_service",
            Self::Replay => "/onvif/replay_service",
        }
    }

    /// The version of its specification, major and minor.
    pub(crate) const fn version(self) -> (&'static str, &'static str) {
        match self {
            Self::Device | Self::Events => ("2", "60"),
            Self::Media2 => ("2", "70"),
            Self::Media | Self::Recording | Self::Search | Self::Replay => ("2", "50"),
        }
    }

    /// Who may make a call of it.
    pub(crate) fn class(self, operation: &str) -> Class {
        match (self, operation) {
            (
                Self::Device,
                "GetSystemDateAndTime"
                | "GetServices"
                | "GetCapabilities"
                | "GetHostname"
                | "GetEndpointReference"
                | "GetWsdlUrl",
            )
            | (_, "GetServiceCapabilities") => Class::Open,
            (Self::Device, "GetUsers") => Class::Needs(UserLevel::Administrator),
            (Self::Replay, "SetReplayConfiguration") => Class::Needs(UserLevel::Operator),
            _ => Class::Needs(UserLevel::User),
        }
    }
}

/// Writes what a service can do, as its element `Capabilities`.
pub(crate) fn capabilities(call: &Call<'_>, service: Service, writer: &mut Writer) {
    let pull_points = PULL_POINTS_MAX.to_string();
    let profiles = super::PROFILES_MAX.to_string();
    let snapshots = if call.backend.has_snapshots() { "true" } else { "false" };
    match service {
        Service::Device => management::own_capabilities(writer, "tds:Capabilities"),
        Service::Media => {
            let attributes = [("SnapshotUri", snapshots), ("Rotation", "false"), ("OSD", "false")];
            writer.element("trt:Capabilities", &attributes, |writer| {
                writer.empty("trt:ProfileCapabilities", &[("MaximumNumberOfProfiles", &profiles)]);
                writer.empty(
                    "trt:StreamingCapabilities",
                    &[("RTPMulticast", "false"), ("RTP_TCP", "true"), ("RTP_RTSP_TCP", "true")],
                );
            });
        }
        Service::Media2 => {
            writer.element("tr2:Capabilities", &[("SnapshotUri", snapshots)], |writer| {
                let supported = "VideoSource VideoEncoder AudioSource AudioEncoder Metadata";
                writer.empty(
                    "tr2:ProfileCapabilities",
                    &[("MaximumNumberOfProfiles", &profiles), ("ConfigurationsSupported", supported)],
                );
                writer.empty(
                    "tr2:StreamingCapabilities",
                    &[("RTSPStreaming", "true"), ("RTPMulticast", "false"), ("RTP_RTSP_TCP", "true")],
                );
            });
        }
        Service::Events => writer.empty(
            "tev:Capabilities",
            &[
                ("WSSubscriptionPolicySupport", "false"),
                ("WSPullPointSupport", "true"),
                ("WSPausableSubscriptionManagerInterfaceSupport", "false"),
                ("MaxNotificationProducers", "0"),
                ("MaxPullPoints", &pull_points),
                ("PersistentNotificationStorage", "false"),
            ],
        ),
        Service::Recording => writer.empty(
            "trc:Capabilities",
            &[
                ("DynamicRecordings", "false"),
                ("DynamicTracks", "false"),
                ("Encoding", "H264 H265 JPEG G711 AAC"),
                ("Options", "true"),
                ("MetadataRecording", "true"),
            ],
        ),
        Service::Search => {
            writer.empty("tse:Capabilities", &[("MetadataSearch", "false"), ("GeneralStartEvents", "false")])
        }
        Service::Replay => {
            let timeout = call.backend.replay_timeout_seconds();
            let range = format!("{} {}", timeout.least, timeout.most);
            writer.empty(
                "trp:Capabilities",
                &[("ReversePlayback", "false"), ("SessionTimeoutRange", &range), ("RTP_RTSP_TCP", "true")],
            );
        }
    }
}
