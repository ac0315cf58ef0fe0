//! The event service (events.wsdl): pull points, and which topics there are.

use std::time::Duration;

use keepwatch_model::{WallTime, duration_from_ticks, ticks_from_duration};

use crate::lexical;
use crate::xml::Writer;

use super::SUBSCRIPTION_PATH;
use super::backend::{Backend, Topic};
use super::call::{Call, Reply, reply};
use super::fault::Fault;
use super::history;
use super::pull::PullPoints;
use super::service::{self, Service};
use super::topic::{DIALECTS, TOPIC_NAMESPACE_LOCATION, TopicFilter};

/// The types of XML Schema, which descriptions of topics name.
const XML_SCHEMA: &str = "http://www.w3.org/2001/XMLSchema";

/// Most topics that are told.
const TOPICS_MAX: usize = 256;

/// Answers a call of this service.
pub(crate) async fn answer(call: &Call<'_>, points: &PullPoints, new_id: impl FnOnce() -> String) -> Reply {
    match call.name() {
        "GetServiceCapabilities" => reply("tev:GetServiceCapabilitiesResponse", |writer| {
            service::capabilities(call, Service::Events, writer);
        }),
        "GetEventProperties" => event_properties(call),
        "CreatePullPointSubscription" => create(call, points, new_id()),
        "PullMessages" => pull(call, points).await,
        "Renew" => {
            let point = points.find(subscription(call)?)?;
            let granted = point.renew(life(call, "TerminationTime")?.unwrap_or(Duration::from_secs(60)));
            let now = call.backend.now();
            reply("wsnt:RenewResponse", |writer| {
                writer.leaf("wsnt:TerminationTime", &lexical::date_time(after(now, granted)));
                writer.leaf("wsnt:CurrentTime", &lexical::date_time(now));
            })
        }
        "Unsubscribe" => {
            points.remove(subscription(call)?)?;
            reply("wsnt:UnsubscribeResponse", |_| {})
        }
        "SetSynchronizationPoint" => {
            points.find(subscription(call)?)?.tell_states(call.backend);
            reply("tev:SetSynchronizationPointResponse", |_| {})
        }
        other => Err(Fault::not_supported(format!("the event service has no {other:?}"))),
    }
}

/// The subscription that a request is sent to: the end of its path.
fn subscription<'a>(call: &Call<'a>) -> Result<&'a str, Fault> {
    let id = call.path.strip_prefix(SUBSCRIPTION_PATH);
    id.ok_or_else(|| Fault::value("ResourceUnknownFault", "this address is not that of a subscription"))
}

fn after(now: WallTime, life: Duration) -> WallTime {
    now.plus(ticks_from_duration(life))
}

/// How long a subscription is to live: the argument is a duration, or a time by the clock of the device.
fn life(call: &Call<'_>, name: &str) -> Result<Option<Duration>, Fault> {
    let Some(text) = call.operation.text_at(&[name]) else { return Ok(None) };
    let life = lexical::parse_duration(text).or_else(|| {
        let end = lexical::parse_date_time(text)?;
        Some(duration_from_ticks(end.ticks_since(call.backend.now())))
    });
    match life {
        Some(life) if life > Duration::ZERO => Ok(Some(life)),
        Some(_) => Err(Fault::value("UnacceptableTerminationTimeFault", format!("{name} has passed"))),
        None => Err(Fault::argument(format!("{name} is neither a duration nor a time"))),
    }
}

fn create(call: &Call<'_>, points: &PullPoints, id: String) -> Reply {
    let filter = TopicFilter::read(call.operation.child("Filter"))?;
    let life = life(call, "InitialTerminationTime")?;
    let address = call.origin.url(&format!("{SUBSCRIPTION_PATH}{id}"));
    let left = points.create(id, call.backend, filter, life)?.left();
    let now = call.backend.now();
    reply("tev:CreatePullPointSubscriptionResponse", |writer| {
        writer.within("tev:SubscriptionReference", |writer| writer.leaf("wsa:Address", &address));
        writer.leaf("wsnt:CurrentTime", &lexical::date_time(now));
        writer.leaf("wsnt:TerminationTime", &lexical::date_time(after(now, left)));
    })
}

async fn pull(call: &Call<'_>, points: &PullPoints) -> Reply {
    let point = points.find(subscription(call)?)?;
    let patience = call.duration("Timeout")?.ok_or_else(|| Fault::argument("PullMessages lacks Timeout"))?;
    let limit = call.count("MessageLimit")?.unwrap_or(1);
    let messages = point.fetch(call.backend, patience, limit).await?;
    let now = call.backend.now();
    reply("tev:PullMessagesResponse", |writer| {
        writer.leaf("tev:CurrentTime", &lexical::date_time(now));
        writer.leaf("tev:TerminationTime", &lexical::date_time(after(now, point.left())));
        for message in &messages {
            writer.within("wsnt:NotificationMessage", |writer| message.write(writer));
        }
    })
}

/// All topics, those of recordings included.
fn topics(backend: &dyn Backend) -> Vec<Topic> {
    let mut topics = backend.topics();
    if backend.has_recordings() {
        topics.extend(history::topics());
    }
    topics.truncate(TOPICS_MAX);
    topics.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    topics
}

fn event_properties(call: &Call<'_>) -> Reply {
    let topics = topics(call.backend);
    reply("tev:GetEventPropertiesResponse", |writer| {
        writer.leaf("tev:TopicNamespaceLocation", TOPIC_NAMESPACE_LOCATION);
        writer.leaf("wsnt:FixedTopicSet", "true");
        writer.element("wstop:TopicSet", &[("xmlns:xs", XML_SCHEMA)], |writer| {
            let paths: Vec<(Vec<&str>, &Topic)> =
                topics.iter().map(|topic| (topic.path.split('/').collect(), topic)).collect();
            topic_set(writer, &paths, 0);
        });
        for dialect in DIALECTS {
            writer.leaf("wsnt:TopicExpressionDialect", dialect);
        }
        writer.leaf(
            "tev:MessageContentFilterDialect",
            "http://www.onvif.org/ver10/tev/messageContentFilter/ItemFilter",
        );
        writer.leaf("tev:MessageContentSchemaLocation", "http://www.onvif.org/onvif/ver10/schema/onvif.xsd");
    })
}

/// Writes sorted topics as nested elements, from the step at `depth` on.
fn topic_set(writer: &mut Writer, topics: &[(Vec<&str>, &Topic)], depth: usize) {
    let step = |topic: &(Vec<&str>, &Topic)| topic.0.get(depth).copied().unwrap_or_default().to_owned();
    for group in topics.chunk_by(|a, b| step(a) == step(b)) {
        let Some(first) = group.first() else { continue };
        let name = step(first);
        if !is_name(&name) {
            continue; // A topic that is no XML name cannot be told; it is also one nobody can ask for.
        }
        let own = group.iter().find(|(steps, _)| steps.len() == depth.saturating_add(1));
        // Root topics have the namespace of ONVIF; those below have none (WS-Topics 1.3 §5).
        let name = if depth == 0 { format!("tns1:{name}") } else { name };
        let attributes: &[(&str, &str)] = if own.is_some() { &[("wstop:topic", "true")] } else { &[] };
        let below: Vec<_> =
            group.iter().filter(|(steps, _)| steps.len() > depth.saturating_add(1)).cloned().collect();
        writer.element(&name, attributes, |writer| {
            if let Some((_, topic)) = own {
                description(writer, topic);
            }
            topic_set(writer, &below, depth.saturating_add(1));
        });
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|character: char| character.is_ascii_alphabetic())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
}

fn description(writer: &mut Writer, topic: &Topic) {
    let property = if topic.property { "true" } else { "false" };
    writer.element("tt:MessageDescription", &[("IsProperty", property)], |writer| {
        for (name, items) in [("tt:Source", &topic.source), ("tt:Data", &topic.data)] {
            writer.within(name, |writer| {
                for (name, kind) in items {
                    writer.empty("tt:SimpleItemDescription", &[("Name", name), ("Type", kind)]);
                }
            });
        }
    });
}
