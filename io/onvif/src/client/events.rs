//! Notifications by a pull point (ONVIF Core §9.2): made, renewed, made again when the device forgot it.

use std::time::Duration;

use keepwatch_model::WallTime;
use tokio::time::{Instant, sleep_until, timeout};
use url::Url;

use super::call::{Call, Login};
use super::{ClientError, Device};
use crate::lexical;
use crate::namespace;
use crate::notification::Notification;
use crate::xml::{Element, Limits, Writer};

/// How long a subscription is to live without being renewed: long enough for a slow device, short enough for one that is
/// left behind, of which devices keep ten or fewer.
const LIFETIME: Duration = Duration::from_secs(60);

/// How long one pull waits on the device for a message.
const PULL_TIME: Duration = Duration::from_secs(20);

/// Messages of one pull.
const MESSAGES_MAX: usize = 100;

/// The least time from the begin of one pull to that of the next after one that brought something: a device that always
/// has something to tell is heard five times a second, with a hundred messages each.
const PULL_PAUSE_MIN: Duration = Duration::from_millis(200);

/// The same after a pull that brought nothing or failed: some devices answer at once whatever they are asked.
const PULL_PAUSE: Duration = Duration::from_secs(1);

/// The least time from one new subscription to the next: devices have ten pull points or fewer, and one that refuses every
/// other pull would be out of them in a minute.
const RESUBSCRIBE_PAUSE: Duration = Duration::from_secs(10);

/// How long a device may take to forget a pull point that it refused. Most do not know it by then.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// Elements that a device may want to see in the header of each request.
const REFERENCES_MAX: usize = 8;

const EVENTS_ACTION: &str = "http://www.onvif.org/ver10/events/wsdl";
const MANAGER_ACTION: &str = "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager";

/// What one pull brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The notifications, in the order of the device; often none.
    pub notifications: Vec<Notification>,
    /// Whether the subscription was made anew, so that what happened in between may be missing and what is told first is
    /// how things stand.
    pub resubscribed: bool,
}

/// A pull point of a device. Dropping it leaves it to the device for a minute; [`close`](Self::close) ends it.
pub struct Subscription {
    device: Device,
    /// `None` between a refusal and the next subscription.
    point: Option<Point>,
    /// The next pull begins no earlier.
    pull_at: Instant,
    /// The next subscription is made no earlier.
    subscribe_at: Instant,
    /// Whether the point was made anew and the caller has not been told.
    resubscribed: bool,
}

/// Where the messages are pulled.
struct Point {
    place: Url,
    /// The address as the device wrote it, which the header repeats.
    to: String,
    /// Elements that the header repeats.
    references: Option<Writer>,
    renew_at: Instant,
    /// Whether the device knows how to renew; pulling renews on those that do not.
    renewable: bool,
}

impl Device {
    /// Makes a pull point for all topics, and asks that the present state of every property be told first.
    pub async fn subscribe(&self) -> Result<Subscription, ClientError> {
        let point = Point::make(self).await?;
        let now = Instant::now();
        Ok(Subscription {
            device: self.clone(),
            point: Some(point),
            pull_at: now,
            subscribe_at: now,
            resubscribed: false,
        })
    }
}

impl Subscription {
    /// Waits for messages, twenty seconds at most, and keeps the subscription alive.
    ///
    /// The device may be asked in a loop without a pause: pulls begin at least 200 ms apart, or a second after one that
    /// brought nothing or failed. When the device refuses a pull, it is told to forget the pull point and another is made,
    /// once in ten seconds: a refusal before that is returned, and the next call waits until it may subscribe. After any
    /// error it may be called again; each other error is returned at once. It may be dropped while it waits.
    pub async fn pull(&mut self) -> Result<Batch, ClientError> {
        sleep_until(self.pull_at).await;
        let begun = Instant::now();
        // Set before all else, so that it also holds after an error and for a call that is dropped.
        self.pull_at = begun + PULL_PAUSE;
        if self.point.is_some() {
            match self.pull_once(begun).await {
                Err(error) if is_refusal(&error) => {
                    self.leave().await;
                    if Instant::now() < self.subscribe_at {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
        sleep_until(self.subscribe_at).await;
        self.subscribe_at = Instant::now() + RESUBSCRIBE_PAUSE;
        self.point = Some(Point::make(&self.device).await?);
        self.resubscribed = true;
        let pulled = self.pull_once(begun).await;
        if pulled.as_ref().is_err_and(is_refusal) {
            self.leave().await;
        }
        pulled
    }

    /// Tells the device that it may forget the subscription.
    pub async fn close(mut self) -> Result<(), ClientError> {
        match self.point.take() {
            Some(point) => point.unsubscribe(&self.device).await,
            None => Ok(()),
        }
    }

    /// Pulls from the point that there is. `begun` is when the caller's pull began.
    async fn pull_once(&mut self, begun: Instant) -> Result<Batch, ClientError> {
        let Some(point) = &mut self.point else { return Ok(Batch::default()) };
        point.renew_if_due(&self.device).await?;
        let notifications = point.pull(&self.device).await?;
        if !notifications.is_empty() {
            self.pull_at = begun + PULL_PAUSE_MIN;
        }
        Ok(Batch { notifications, resubscribed: std::mem::take(&mut self.resubscribed) })
    }

    /// Leaves a point that the device refused. It may know it all the same, and would keep it for a minute.
    async fn leave(&mut self) {
        let Some(point) = self.point.take() else { return };
        match timeout(FAREWELL_TIME, point.unsubscribe(&self.device)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a pull point was not left"),
            Err(_) => tracing::debug!("a pull point was not left in time"),
        }
    }
}

/// Whether the device restarted, or let the subscription die: it says so in many ways, all of them a refusal.
const fn is_refusal(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { .. } | ClientError::Http { .. } | ClientError::Missing { .. })
}

impl Point {
    async fn make(device: &Device) -> Result<Self, ClientError> {
        let name = "CreatePullPointSubscription";
        let lifetime = lexical::duration(LIFETIME);
        let services = device.services().iter();
        let place = services.into_iter().find(|service| service.namespace == namespace::EVENTS);
        let place = place.ok_or(ClientError::NotOffered("event"))?.place.clone();
        let call = Call {
            name,
            action: format!("{EVENTS_ACTION}/EventPortType/CreatePullPointSubscriptionRequest"),
            place: &place,
            references: None,
            to: Some(place.as_str()),
            time: device.call_time(),
            login: Login::AsBefore,
            limits: Limits::DEFAULT,
        };
        let begun = Instant::now();
        let answer = device.call_at(&call, |writer| {
            writer.within("tev:CreatePullPointSubscription", |writer| {
                writer.leaf("tev:InitialTerminationTime", &lifetime);
            });
        });
        let answer = answer.await?;
        let reference = answer.child("SubscriptionReference");
        let given = reference.and_then(|reference| reference.text_at(&["Address"])).unwrap_or(place.as_str());
        let to = given.to_owned();
        let place = device.place_at(given).ok_or(ClientError::Missing { call: name, what: "address" })?;
        let parameters = reference.and_then(|reference| {
            reference.child("ReferenceParameters").or_else(|| reference.child("ReferenceProperties"))
        });
        let renew_at = begun + told_lifetime(&answer) / 2;
        let point = Self { place, to, references: parameters.map(references), renew_at, renewable: true };
        // Devices that tell all states to a new subscriber anyway may refuse this; none needs it to go on.
        let _ = point
            .call(
                device,
                "SetSynchronizationPoint",
                format!("{EVENTS_ACTION}/PullPointSubscription/SetSynchronizationPointRequest"),
                Duration::ZERO,
                |writer| writer.empty("tev:SetSynchronizationPoint", &[]),
            )
            .await;
        Ok(point)
    }

    async fn renew_if_due(&mut self, device: &Device) -> Result<(), ClientError> {
        let now = Instant::now();
        if now < self.renew_at || !self.renewable {
            return Ok(());
        }
        let lifetime = lexical::duration(LIFETIME);
        let action = format!("{MANAGER_ACTION}/RenewRequest");
        let renewed = self.call(device, "Renew", action, Duration::ZERO, |writer| {
            writer.within("wsnt:Renew", |writer| writer.leaf("wsnt:TerminationTime", &lifetime));
        });
        match renewed.await {
            Ok(answer) => self.renew_at = now + told_lifetime(&answer) / 2,
            Err(error) if error.is_not_supported() => self.renewable = false,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn pull(&mut self, device: &Device) -> Result<Vec<Notification>, ClientError> {
        let time = lexical::duration(PULL_TIME);
        let limit = MESSAGES_MAX.to_string();
        let action = format!("{EVENTS_ACTION}/PullPointSubscription/PullMessagesRequest");
        let answer = self.call(device, "PullMessages", action, PULL_TIME, |writer| {
            writer.within("tev:PullMessages", |writer| {
                writer.leaf("tev:Timeout", &time);
                writer.leaf("tev:MessageLimit", &limit);
            });
        });
        let answer = answer.await?;
        let now = device_now(device, &answer);
        // A device that ignores the limit is read as far as the limits on its answer go.
        Ok(Notification::all_in(&answer, now).collect())
    }

    async fn unsubscribe(&self, device: &Device) -> Result<(), ClientError> {
        let body = |writer: &mut Writer| writer.empty("wsnt:Unsubscribe", &[]);
        let action = format!("{MANAGER_ACTION}/UnsubscribeRequest");
        self.call(device, "Unsubscribe", action, Duration::ZERO, body).await.map(drop)
    }

    async fn call(
        &self,
        device: &Device,
        name: &'static str,
        action: String,
        waits: Duration,
        body: impl Fn(&mut Writer),
    ) -> Result<Element, ClientError> {
        let call = Call {
            name,
            action,
            place: &self.place,
            references: self.references.as_ref(),
            to: Some(&self.to),
            time: device.call_time().saturating_add(waits),
            login: Login::AsBefore,
            limits: Limits::DEFAULT,
        };
        device.call_at(&call, body).await
    }
}

/// How long a subscription lives by its answer; what was asked for where the answer makes no sense.
fn told_lifetime(answer: &Element) -> Duration {
    let time = |name| answer.text_at(&[name]).and_then(lexical::parse_date_time);
    let told = time("TerminationTime").zip(time("CurrentTime"));
    let told = told.map(|(end, now)| keepwatch_model::duration_from_ticks(end.ticks_since(now)));
    // An hour at most: what a device promises is worth less than asking.
    told.filter(|told| *told >= Duration::from_secs(5)).unwrap_or(LIFETIME).min(Duration::from_secs(3600))
}

fn device_now(device: &Device, answer: &Element) -> WallTime {
    answer.text_at(&["CurrentTime"]).and_then(lexical::parse_date_time).unwrap_or_else(|| device.now())
}

/// The reference parameters of a pull point, to be written into the header of each request (WS-Addressing §3.3).
fn references(parameters: &Element) -> Writer {
    let mut writer = Writer::new();
    for parameter in parameters.children.iter().take(REFERENCES_MAX) {
        let namespace = parameter.namespace.as_deref().unwrap_or_default();
        // Writing takes names as they are, so those that a device makes must be names.
        if is_name(&parameter.name) {
            let attributes = [("xmlns", namespace), ("wsa:IsReferenceParameter", "true")];
            writer.leaf_with(&parameter.name, &attributes, &parameter.text);
        }
    }
    writer
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}
