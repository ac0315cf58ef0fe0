//! The device service (ONVIF Core, devicemgmt.wsdl): who the device is, what it offers, and its clock.

use keepwatch_model::WallTime;

use crate::xml::Writer;

use super::backend::{Access, Backend};
use super::call::{Call, Reply, reply};
use super::fault::Fault;
use super::service::{self, Service};

/// Answers a call of this service.
pub(crate) fn answer(call: &Call<'_>) -> Reply {
    match call.name() {
        "GetSystemDateAndTime" => date_and_time(call),
        "GetDeviceInformation" => information(call),
        "GetServices" => services(call),
        "GetServiceCapabilities" => {
            reply("tds:GetServiceCapabilitiesResponse", |writer| own_capabilities(writer, "tds:Capabilities"))
        }
        "GetCapabilities" => capabilities(call),
        "GetScopes" => reply("tds:GetScopesResponse", |writer| {
            for scope in scopes(call.backend) {
                writer.within("tds:Scopes", |writer| {
                    writer.leaf("tt:ScopeDef", "Fixed");
                    writer.leaf("tt:ScopeItem", &scope);
                });
            }
        }),
        "GetHostname" => reply("tds:GetHostnameResponse", |writer| {
            writer.within("tds:HostnameInformation", |writer| {
                writer.leaf("tt:FromDHCP", "false");
                writer.leaf("tt:Name", &call.backend.identity().hostname);
            });
        }),
        "GetNetworkInterfaces" => network_interfaces(call),
        "GetUsers" => reply("tds:GetUsersResponse", |writer| {
            let Access::Users(users) = call.backend.access() else { return };
            for user in users {
                writer.within("tds:User", |writer| {
                    writer.leaf("tt:Username", &user.credentials.user);
                    writer.leaf("tt:UserLevel", user.level.as_str());
                });
            }
        }),
        "GetEndpointReference" => reply("tds:GetEndpointReferenceResponse", |writer| {
            writer.leaf("tds:GUID", &call.backend.identity().endpoint);
        }),
        "GetWsdlUrl" => reply("tds:GetWsdlUrlResponse", |writer| {
            writer.leaf("tds:WsdlUrl", "https://www.onvif.org/profiles/specifications/");
        }),
        other => Err(Fault::not_supported(format!("the device service has no {other:?}"))),
    }
}

fn date_and_time(call: &Call<'_>) -> Reply {
    let now = call.backend.now();
    reply("tds:GetSystemDateAndTimeResponse", |writer| {
        writer.within("tds:SystemDateAndTime", |writer| {
            writer.leaf("tt:DateTimeType", "Manual");
            writer.leaf("tt:DaylightSavings", "false");
            writer.within("tt:TimeZone", |writer| writer.leaf("tt:TZ", "UTC0"));
            for name in ["tt:UTCDateTime", "tt:LocalDateTime"] {
                writer.within(name, |writer| date_time_fields(writer, now));
            }
        });
    })
}

fn date_time_fields(writer: &mut Writer, now: WallTime) {
    // Every label has a text with all fields: `2026-11-22T02:26:56.000000Z`.
    let text = now.to_string();
    let mut numbers = text.split(|character: char| !character.is_ascii_digit()).map(|field| {
        let digits = field.trim_start_matches('0');
        if digits.is_empty() { "0" } else { digits }
    });
    let mut next = || numbers.next().unwrap_or("0");
    let (year, month, day) = (next(), next(), next());
    writer.within("tt:Time", |writer| {
        for name in ["tt:Hour", "tt:Minute", "tt:Second"] {
            writer.leaf(name, next());
        }
    });
    writer.within("tt:Date", |writer| {
        for (name, value) in [("tt:Year", year), ("tt:Month", month), ("tt:Day", day)] {
            writer.leaf(name, value);
        }
    });
}

fn information(call: &Call<'_>) -> Reply {
    let identity = call.backend.identity();
    reply("tds:GetDeviceInformationResponse", |writer| {
        writer.leaf("tds:Manufacturer", &identity.manufacturer);
        writer.leaf("tds:Model", &identity.model);
        writer.leaf("tds:FirmwareVersion", &identity.firmware);
        writer.leaf("tds:SerialNumber", &identity.serial);
        writer.leaf("tds:HardwareId", &identity.hardware);
    })
}

fn services(call: &Call<'_>) -> Reply {
    let with_capability = call.flag("IncludeCapability")?;
    reply("tds:GetServicesResponse", |writer| {
        for service in Service::offered(call.backend) {
            writer.within("tds:Service", |writer| {
                writer.leaf("tds:Namespace", service.namespace());
                writer.leaf("tds:XAddr", &call.origin.url(service.path()));
                if with_capability {
                    writer.within("tds:Capabilities", |writer| service::capabilities(call, service, writer));
                }
                writer.within("tds:Version", |writer| version(writer, service.version()));
            });
        }
    })
}

fn version(writer: &mut Writer, (major, minor): (&str, &str)) {
    writer.leaf("tt:Major", major);
    writer.leaf("tt:Minor", minor);
}

/// What this service can do, as an element `name`.
pub(crate) fn own_capabilities(writer: &mut Writer, name: &str) {
    writer.within(name, |writer| {
        writer.empty(
            "tds:Network",
            &[
                ("IPFilter", "false"),
                ("ZeroConfiguration", "false"),
                ("IPVersion6", "true"),
                ("DynDNS", "false"),
                ("NTP", "0"),
            ],
        );
        writer.empty(
            "tds:Security",
            &[
                ("TLS1.0", "false"),
                ("TLS1.1", "false"),
                ("TLS1.2", "false"),
                ("OnboardKeyGeneration", "false"),
                ("AccessPolicyConfig", "false"),
                ("DefaultAccessPolicy", "true"),
                ("Dot1X", "false"),
                ("RemoteUserHandling", "false"),
                ("X.509Token", "false"),
                ("SAMLToken", "false"),
                ("KerberosToken", "false"),
                ("UsernameToken", "true"),
                ("HttpDigest", "true"),
                ("RELToken", "false"),
            ],
        );
        writer.empty(
            "tds:System",
            &[
                ("DiscoveryResolve", "true"),
                ("DiscoveryBye", "true"),
                ("RemoteDiscovery", "false"),
                ("SystemBackup", "false"),
                ("SystemLogging", "false"),
                ("FirmwareUpgrade", "false"),
            ],
        );
    });
}

/// The predecessor of GetServices, still the first thing that old clients ask.
fn capabilities(call: &Call<'_>) -> Reply {
    let categories: Vec<&str> =
        call.operation.children("Category").map(|child| child.text.as_str()).collect();
    let known = ["All", "Analytics", "Device", "Events", "Imaging", "Media", "PTZ"];
    if let Some(unknown) = categories.iter().find(|category| !known.contains(category)) {
        return Err(Fault::value("NoSuchService", format!("there is no category {unknown:?}")));
    }
    let all = categories.is_empty() || categories.contains(&"All");
    let wanted = |category: &str| all || categories.contains(&category);
    if !all && !["Device", "Events", "Media"].into_iter().any(wanted) {
        return Err(Fault::value("NoSuchService", format!("this device has no {}", categories.join(", "))));
    }
    let url = |service: Service| call.origin.url(service.path());
    reply("tds:GetCapabilitiesResponse", |writer| {
        writer.within("tds:Capabilities", |writer| {
            if wanted("Device") {
                writer.within("tt:Device", |writer| device_capabilities(writer, &url(Service::Device)));
            }
            if wanted("Events") {
                writer.within("tt:Events", |writer| {
                    writer.leaf("tt:XAddr", &url(Service::Events));
                    writer.leaf("tt:WSSubscriptionPolicySupport", "false");
                    writer.leaf("tt:WSPullPointSupport", "true");
                    writer.leaf("tt:WSPausableSubscriptionManagerInterfaceSupport", "false");
                });
            }
            if wanted("Media") {
                writer.within("tt:Media", |writer| {
                    writer.leaf("tt:XAddr", &url(Service::Media));
                    writer.within("tt:StreamingCapabilities", |writer| {
                        writer.leaf("tt:RTPMulticast", "false");
                        writer.leaf("tt:RTP_TCP", "true");
                        writer.leaf("tt:RTP_RTSP_TCP", "true");
                    });
                });
            }
            if all && call.backend.has_recordings() {
                writer.within("tt:Extension", |writer| recording_capabilities(writer, &url));
            }
        });
    })
}

fn device_capabilities(writer: &mut Writer, url: &str) {
    writer.leaf("tt:XAddr", url);
    writer.within("tt:System", |writer| {
        writer.leaf("tt:DiscoveryResolve", "true");
        writer.leaf("tt:DiscoveryBye", "true");
        for name in ["tt:RemoteDiscovery", "tt:SystemBackup", "tt:SystemLogging", "tt:FirmwareUpgrade"] {
            writer.leaf(name, "false");
        }
        writer.within("tt:SupportedVersions", |writer| version(writer, Service::Device.version()));
    });
    writer.within("tt:Security", |writer| {
        for name in [
            "tt:TLS1.1",
            "tt:TLS1.2",
            "tt:OnboardKeyGeneration",
            "tt:AccessPolicyConfig",
            "tt:X.509Token",
            "tt:SAMLToken",
            "tt:KerberosToken",
            "tt:RELToken",
        ] {
            writer.leaf(name, "false");
        }
    });
}

fn recording_capabilities(writer: &mut Writer, url: &dyn Fn(Service) -> String) {
    writer.within("tt:Recording", |writer| {
        writer.leaf("tt:XAddr", &url(Service::Recording));
        writer.leaf("tt:ReceiverSource", "false");
        writer.leaf("tt:MediaProfileSource", "true");
        writer.leaf("tt:DynamicRecordings", "false");
        writer.leaf("tt:DynamicTracks", "false");
        writer.leaf("tt:MaxStringLength", "64");
    });
    writer.within("tt:Search", |writer| {
        writer.leaf("tt:XAddr", &url(Service::Search));
        writer.leaf("tt:MetadataSearch", "false");
    });
    writer.within("tt:Replay", |writer| writer.leaf("tt:XAddr", &url(Service::Replay)));
}

/// The one interface that matters to the client: the one through which it asked.
fn network_interfaces(call: &Call<'_>) -> Reply {
    let host = call.origin.host();
    reply("tds:GetNetworkInterfacesResponse", |writer| {
        writer.element("tds:NetworkInterfaces", &[("token", "network")], |writer| {
            writer.leaf("tt:Enabled", "true");
            if let Ok(address) = host.parse::<std::net::Ipv4Addr>() {
                writer.within("tt:IPv4", |writer| {
                    writer.leaf("tt:Enabled", "true");
                    writer.within("tt:Config", |writer| {
                        writer.within("tt:Manual", |writer| {
                            writer.leaf("tt:Address", &address.to_string());
                            // The size of the subnet is not known here; the address alone is certain.
                            writer.leaf("tt:PrefixLength", "32");
                        });
                        writer.leaf("tt:DHCP", "false");
                    });
                });
            }
        });
    })
}

/// The scopes of the device (ONVIF Core "Scopes"), as addresses.
pub(crate) fn scopes(backend: &dyn Backend) -> Vec<String> {
    const STEM: &str = "onvif://www.onvif.org";
    let identity = backend.identity();
    let mut scopes =
        vec![format!("{STEM}/type/Network_Video_Transmitter"), format!("{STEM}/type/video_encoder")];
    scopes.push(format!("{STEM}/Profile/Streaming"));
    if backend.has_recordings() {
        scopes.push(format!("{STEM}/Profile/G"));
    }
    for (category, value) in
        [("hardware", &identity.model), ("name", &identity.name), ("location", &identity.location)]
    {
        if !value.is_empty() {
            scopes.push(format!("{STEM}/{category}/{}", percent_encoded(value)));
        }
    }
    scopes
}

/// What a segment of an address may hold (RFC 3986 §3.3); the rest is encoded.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The text of a segment; `None` when what it encodes is no text.
pub(crate) fn percent_decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((plain, encoded)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        let digits = encoded.get(..2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
        rest = encoded.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}
