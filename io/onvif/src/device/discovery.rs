//! The device's side of WS-Discovery: it says when it comes and goes, and answers who looks for it.
//!
//! What is said is decided by `Presence` without a socket. Anybody can send a probe under the name of somebody else,
//! whom the answer then hits: so answers are few for each address and in all, and none is longer than some kilobytes.

mod presence;
mod sockets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::Backend;
use super::service::Service;
use crate::discovery::PORT;
use presence::Presence;
use sockets::Network;

/// Longest datagram that is read, in bytes; a probe has less than two kilobytes.
const PROBE_BYTES_MAX: usize = 8 * 1024;

/// Probes that wait to be looked at.
const QUEUE: usize = 64;

/// Answers that wait for their time.
const ANSWERS_MAX: usize = 128;

/// Answers in one second, to all and to one address: a client sends three variants three times.
const ANSWERS_PER_SECOND: u32 = 100;
const ANSWERS_PER_SECOND_AND_ADDRESS: u32 = 12;

/// Longest wait before an answer, so that devices do not answer all at once (WS-Discovery, APP_MAX_DELAY).
const DELAY_MAX: Duration = Duration::from_millis(500);

/// Times and pause of what is said to all: datagrams are lost (SOAP-over-UDP, MULTICAST_UDP_REPEAT).
const REPEATS: usize = 2;
const REPEAT_PAUSE: Duration = Duration::from_millis(100);

/// How often the device looks whether its scopes have changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Where a device is found.
#[derive(Clone, Debug)]
pub struct DiscoveryOptions {
    /// Where probes are heard; port 3702, except in tests. An address that is not unspecified hears no multicast.
    pub listen: SocketAddr,
    /// Interfaces to be found by, by name; empty means all but loopback. `None` uses no multicast: only who asks this
    /// address directly is answered.
    pub interfaces: Option<Vec<String>>,
    /// Where the device is served. When the address is unspecified, each client is told the one that it reaches.
    pub service: SocketAddr,
}

impl DiscoveryOptions {
    /// A device that is served at `service` and found by all interfaces.
    pub const fn new(service: SocketAddr) -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);
        Self { listen, interfaces: Some(Vec::new()), service }
    }
}

/// Why a device cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The address is not free, or not this machine's.
    #[error(
        "{address} cannot be listened on for WS-Discovery: another program holds it for itself, or it is not of this machine"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There is no such interface, or it has no address.
    #[error("there is no interface {name:?} with an address; there are: {known}")]
    NoInterface {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The interfaces cannot be listed.
    #[error("the network interfaces cannot be listed")]
    Interfaces(#[source] io::Error),
}

/// A device that is found. Dropping it ends it without a word; [`shutdown`](Self::shutdown) says that it leaves.
#[derive(Debug)]
pub struct Responder {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Responder {
    /// Says that the device has come, and answers from here on. Call it where tokio runs.
    pub fn start(options: DiscoveryOptions, backend: Arc<dyn Backend>) -> Result<Self, DiscoveryError> {
        let network = Network::open(&options)?;
        let address = network.address;
        // Seconds grow with each start, unless the clock is set back between two.
        let started = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let presence = Presence::new(backend, u32::try_from(started).unwrap_or(u32::MAX));
        let stop = watch::Sender::new(false);
        info!(%address, "the ONVIF device is found by WS-Discovery");
        let run = Run { network, presence, service: options.service, answers: BTreeMap::new(), number: 0 };
        let task = tokio::spawn(run.run(stop.subscribe()));
        Ok(Self { address, stop, task: Some(task) })
    }

    /// Where probes are heard, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says that the device leaves, and ends.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            warn!(%error, "WS-Discovery ended badly");
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A datagram that came in.
struct Heard {
    bytes: Vec<u8>,
    sender: SocketAddr,
    socket: Arc<UdpSocket>,
}

/// An answer and where it goes.
struct Answer {
    text: String,
    to: SocketAddr,
    socket: Arc<UdpSocket>,
}

/// The running task.
struct Run {
    network: Network,
    presence: Presence,
    service: SocketAddr,
    /// By their time, and a number that tells those of one time apart.
    answers: BTreeMap<(Instant, u64), Answer>,
    number: u64,
}

impl Run {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (heard, mut queue) = mpsc::channel(QUEUE);
        let mut listeners = JoinSet::new();
        for socket in &self.network.sockets {
            listeners.spawn(listen(Arc::clone(socket), heard.clone()));
        }
        drop(heard);
        self.say(Presence::hello).await;
        let mut limits = Limits::new();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = self.answers.first_key_value().map(|((time, _), _)| *time);
            tokio::select! {
                _ = stop.changed() => break,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.send().await,
                Some(heard) = queue.recv() => self.take(heard, &mut limits),
                _ = look.tick() => {
                    if self.presence.has_changed() {
                        self.say(Presence::hello).await;
                    }
                }
            }
        }
        self.say(Presence::bye).await;
    }

    /// Looks at a datagram, and puts an answer among those that wait.
    fn take(&mut self, heard: Heard, limits: &mut Limits) {
        let service = self.service;
        let Some(text) = self.presence.answer(&heard.bytes, || url_for(service, heard.sender)) else {
            return;
        };
        // Counted are answers, not datagrams: what others say in the group is none of ours.
        if self.answers.len() >= ANSWERS_MAX || !limits.allow(heard.sender.ip(), Instant::now()) {
            debug!(sender = %heard.sender, "too many probes; one is not answered");
            return;
        }
        let [low, high, ..] = crate::uuid::random();
        let delay = DELAY_MAX.mul_f64(f64::from(u16::from_le_bytes([low, high])) / f64::from(u16::MAX));
        self.number = self.number.wrapping_add(1);
        let answer = Answer { text, to: heard.sender, socket: heard.socket };
        self.answers.insert((Instant::now() + delay, self.number), answer);
    }

    /// Sends the answers whose time has come.
    async fn send(&mut self) {
        while let Some(entry) = self.answers.first_entry().filter(|entry| entry.key().0 <= Instant::now()) {
            let answer = entry.remove();
            if let Err(error) = answer.socket.send_to(answer.text.as_bytes(), answer.to).await {
                debug!(%error, to = %answer.to, "an answer of WS-Discovery was not sent");
            }
        }
    }

    /// Says something to all, by each interface.
    async fn say(&mut self, what: fn(&mut Presence, &[String]) -> String) {
        let mut datagrams = Vec::new();
        for group in &self.network.groups {
            let service = if self.service.ip().is_unspecified() {
                SocketAddr::new(group.own, self.service.port())
            } else {
                self.service
            };
            // One message, once for each interface: its address differs.
            datagrams.push((
                Arc::clone(&group.socket),
                group.group,
                what(&mut self.presence, &[url(service)]),
            ));
        }
        for _ in 0..REPEATS {
            for (socket, group, text) in &datagrams {
                let sent = timeout(REPEAT_PAUSE, socket.send_to(text.as_bytes(), group)).await;
                if let Ok(Err(error)) = sent {
                    debug!(%error, %group, "an announcement of WS-Discovery was not sent");
                }
            }
            if !datagrams.is_empty() {
                tokio::time::sleep(REPEAT_PAUSE).await;
            }
        }
    }
}

/// The address of the device for a client; `None` when it cannot be told.
fn url_for(service: SocketAddr, client: SocketAddr) -> Option<String> {
    if !service.ip().is_unspecified() {
        return Some(url(service));
    }
    let own = sockets::own_address_for(service.ip(), client).ok()?;
    Some(url(SocketAddr::new(own, service.port())))
}

fn url(service: SocketAddr) -> String {
    // The zone of a link-local address means nothing to anybody else.
    let address = match service.ip() {
        IpAddr::V6(address) => SocketAddr::from((address, service.port())),
        IpAddr::V4(address) => SocketAddr::from((address, service.port())),
    };
    format!("http://{address}{}", Service::Device.path())
}

/// How many answers may still be given.
struct Limits {
    second: Instant,
    all: u32,
    by_address: BTreeMap<IpAddr, u32>,
}

impl Limits {
    fn new() -> Self {
        Self { second: Instant::now(), all: 0, by_address: BTreeMap::new() }
    }

    fn allow(&mut self, sender: IpAddr, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            *self = Self { second: now, ..Self::new() };
        }
        if self.all >= ANSWERS_PER_SECOND {
            return false;
        }
        let own = self.by_address.entry(sender).or_default();
        let allowed = *own < ANSWERS_PER_SECOND_AND_ADDRESS;
        if allowed {
            *own = own.saturating_add(1);
            self.all = self.all.saturating_add(1);
        }
        allowed
    }
}

/// Puts what arrives at a socket into the queue. The kernel drops what the queue does not take in time.
async fn listen(socket: Arc<UdpSocket>, queue: mpsc::Sender<Heard>) {
    let mut buffer = vec![0; PROBE_BYTES_MAX.saturating_add(1)];
    loop {
        let (length, sender) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // A client that has gone is reported here, and means nothing to others.
            Err(error) => {
                debug!(%error, "a socket of WS-Discovery");
                tokio::task::yield_now().await;
                continue;
            }
        };
        if length > PROBE_BYTES_MAX || !may_be_answered(sender) {
            continue;
        }
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        if queue.send(Heard { bytes, sender, socket: Arc::clone(&socket) }).await.is_err() {
            return;
        }
    }
}

/// Whether a datagram can come from there; what cannot is forged to make us shout.
fn may_be_answered(sender: SocketAddr) -> bool {
    let address = sender.ip().to_canonical();
    let to_one = match address {
        IpAddr::V4(address) => address != Ipv4Addr::BROADCAST,
        IpAddr::V6(address) => address != Ipv6Addr::UNSPECIFIED,
    };
    sender.port() != 0 && to_one && !address.is_multicast() && !address.is_unspecified()
}
