//! A scan: probes by multicast on each interface and to single addresses, and the answers until the time is over.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use super::collection::Collection;
use super::found::Found;
use super::interfaces::{self, Interface};
use super::message::{Content, GROUP_IPV4, GROUP_IPV6, Message, PORT, Probe};
use super::range::AddressRange;
use super::tally::Counts;
use crate::uuid::uuid;

/// When probes are sent by multicast: datagrams are lost, and cameras that wake up miss the first.
const ROUNDS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_millis(1500)];

/// Single addresses that are asked in one go, and how often: a thousand datagrams a second overrun no switch and no
/// neighbour table.
const ADDRESSES_PER_GO: usize = 10;
const GO: Duration = Duration::from_millis(20);

/// Received datagrams that wait to be read.
const QUEUE: usize = 256;

/// Socket receive buffer, in bytes: answers of all devices of a site arrive at once.
const RECEIVE_BYTES: usize = 4 << 20;

/// Hops of a multicast probe. The group is one that stays within an organisation; routers rarely pass it on.
const HOPS: u32 = 4;

/// What is looked for, in turn: some devices answer only one of these.
const TYPES: [&[&str]; 3] = [&["dn:NetworkVideoTransmitter"], &["tds:Device"], &[]];

/// What to scan.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// Interfaces to probe by multicast, by name; empty means all but loopback. `None` sends no multicast.
    pub interfaces: Option<Vec<String>>,
    /// Addresses to ask one by one.
    pub ranges: Vec<AddressRange>,
    /// How long to wait for answers after the last probe was sent.
    pub time: Duration,
    /// The port that devices listen at; always 3702, except in tests.
    pub port: u16,
}

impl Default for ScanOptions {
    /// Multicast on all interfaces, 4 s.
    fn default() -> Self {
        Self { interfaces: Some(Vec::new()), ranges: Vec::new(), time: Duration::from_secs(4), port: PORT }
    }
}

/// Why a scan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// There is no such interface, or it has no address.
    #[error("there is no interface {name:?} with an address; there are: {known}")]
    NoInterface {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// There is no interface at all to scan on.
    #[error("there is no network interface but loopback; give an address with --probe")]
    NoNetwork,
    /// The interfaces cannot be listed, or no socket can be made.
    #[error("no scan is possible: {0}")]
    Socket(#[from] io::Error),
}

/// How a scan goes on.
#[derive(Debug)]
pub enum ScanProgress<'a> {
    /// A device was found that was not known before.
    Found(&'a Found),
    /// So many of the single addresses were asked.
    Asked {
        /// Asked until now.
        done: usize,
        /// All that are to be asked.
        all: usize,
    },
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The devices, by endpoint.
    pub devices: Vec<Found>,
    /// Who answered and is no device of ONVIF: computers and printers, each counted once.
    pub others: usize,
    /// Devices that answered and gave no address that a configuration can name.
    pub unreachable: Vec<Unreachable>,
    /// What came in.
    pub counts: Counts,
    /// Interfaces that could not be used, and why.
    pub failed: Vec<(String, String)>,
}

/// A device that answered by the address of a link only (RFC 4291 §2.5.6), which means something on that link alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// Its stable name, `urn:uuid:...`.
    pub endpoint: String,
    /// Who answered for it.
    pub sender: IpAddr,
    /// The interface that it was found by; `None` when it was asked directly.
    pub interface: Option<String>,
}

/// A datagram that was received.
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) sender: IpAddr,
    /// Which of the scan's interfaces it came in by; `None` for an answer to a direct question.
    pub(super) interface: Option<usize>,
}

/// Scans until the time is over or `cancelled` is ready, and returns what was found until then. The future can be sent to
/// another thread where `cancelled` and `progress` can.
pub async fn scan(
    options: &ScanOptions,
    cancelled: impl Future<Output = ()>,
    mut progress: impl FnMut(ScanProgress<'_>),
) -> Result<Findings, ScanError> {
    let all = interfaces::all()?;
    let chosen = choose(options, &all)?;
    let mut listeners = JoinSet::new();
    let (heard, mut queue) = mpsc::channel(QUEUE);
    let mut findings = Findings::default();
    let mut groups = Vec::new();
    for (position, interface) in chosen.iter().enumerate() {
        match Group::open_all(interface, options.port) {
            Ok(opened) => {
                for group in opened {
                    listeners.spawn(listen(Arc::clone(&group.socket), Some(position), heard.clone()));
                    groups.push(group);
                }
            }
            Err(error) => findings.failed.push((interface.name.clone(), error.to_string())),
        }
    }
    if options.interfaces.is_some() {
        for socket in announcements(&chosen, options.port) {
            listeners.spawn(listen(socket, None, heard.clone()));
        }
    }
    let addresses: Vec<IpAddr> = options.ranges.iter().flat_map(|range| range.addresses()).collect();
    let direct = Direct::open(&addresses)?;
    for socket in direct.sockets() {
        listeners.spawn(listen(socket, None, heard.clone()));
    }
    drop(heard);
    let probes = Probes::new();
    let mut collection = Collection::new(&chosen, &all, &probes);
    let (asked, mut done) = mpsc::channel(1);
    let work = async {
        tokio::join!(multicast(&groups, &probes), direct.ask(&addresses, options.port, &probes, &asked),);
        sleep_until(Instant::now() + options.time).await;
    };
    tokio::pin!(work, cancelled);
    loop {
        tokio::select! {
            () = &mut work => break,
            () = &mut cancelled => break,
            Some(heard) = queue.recv() => {
                if let Some(found) = collection.take(&heard) {
                    progress(ScanProgress::Found(found));
                }
            }
            Some(asked) = done.recv() => progress(ScanProgress::Asked { done: asked, all: addresses.len() }),
        }
    }
    collection.finish(&mut findings);
    Ok(findings)
}

/// The interfaces to probe by multicast.
fn choose(options: &ScanOptions, all: &[Interface]) -> Result<Vec<Interface>, ScanError> {
    let Some(names) = &options.interfaces else { return Ok(Vec::new()) };
    if names.is_empty() {
        let chosen: Vec<Interface> = all.iter().filter(|interface| !interface.loopback).cloned().collect();
        let nothing = chosen.is_empty() && options.ranges.is_empty();
        return if nothing { Err(ScanError::NoNetwork) } else { Ok(chosen) };
    }
    let find = |name: &String| {
        let found = all.iter().find(|interface| interface.name == *name).cloned();
        found.ok_or_else(|| ScanError::NoInterface {
            name: name.clone(),
            known: all.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    };
    names.iter().map(find).collect()
}

/// The probes of one scan. Each has a name that nobody can foretell, so that only who heard it can answer.
pub(super) struct Probes {
    pub(super) datagrams: Vec<String>,
    ids: BTreeSet<String>,
}

impl Probes {
    pub(super) fn new() -> Self {
        let mut probes = Self { datagrams: Vec::new(), ids: BTreeSet::new() };
        for types in TYPES {
            let id = uuid();
            let types = types.iter().map(|&name| name.to_owned()).collect();
            let content = Content::Probe(Probe { types, ..Probe::default() });
            let message = Message { id: format!("urn:uuid:{id}"), relates_to: None, content };
            probes.datagrams.push(message.write());
            probes.ids.insert(id);
        }
        probes
    }

    /// Whether an answer relates to one of them; devices change case and prefix.
    pub(super) fn include(&self, relates_to: Option<&str>) -> bool {
        let name = relates_to.unwrap_or_default().trim().to_ascii_lowercase();
        self.ids.contains(name.rsplit(':').next().unwrap_or_default())
    }
}

/// A socket that sends to the group by one interface.
struct Group {
    socket: Arc<UdpSocket>,
    group: SocketAddr,
}

impl Group {
    /// One socket for each of the interface's IPv4 addresses, and one for IPv6.
    fn open_all(interface: &Interface, port: u16) -> io::Result<Vec<Self>> {
        let mut opened = Vec::new();
        let mut failed = None;
        let ipv4 = interface.ipv4.iter().map(|(address, _)| Self::ipv4(*address, port));
        let ipv6 = (!interface.ipv6.is_empty()).then(|| Self::ipv6(interface.index, port));
        for group in ipv4.chain(ipv6) {
            match group {
                Ok(group) => opened.push(group),
                Err(error) => failed = Some(error),
            }
        }
        // One that works is enough: many interfaces have an address of IPv6 and no more.
        match failed {
            Some(error) if opened.is_empty() => Err(error),
            _ => Ok(opened),
        }
    }

    fn ipv4(address: Ipv4Addr, port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_multicast_if_v4(&address)?;
        socket.set_multicast_ttl_v4(HOPS)?;
        // Devices on this machine are to be found too.
        socket.set_multicast_loop_v4(true)?;
        socket.bind(&SocketAddr::from((address, 0)).into())?;
        Ok(Self { socket: ready(socket)?, group: (GROUP_IPV4, port).into() })
    }

    fn ipv6(index: u32, port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_loop_v6(true)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
        Ok(Self { socket: ready(socket)?, group: SocketAddrV6::new(GROUP_IPV6, port, 0, index).into() })
    }
}

fn ready(socket: Socket) -> io::Result<Arc<UdpSocket>> {
    socket.set_nonblocking(true)?;
    // The system caps it at what it allows, which is no error.
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
    Ok(Arc::new(UdpSocket::from_std(socket.into())?))
}

/// Sockets that hear what devices say when they come and go. Another program may own the port: then only answers are heard.
fn announcements(chosen: &[Interface], port: u16) -> Vec<Arc<UdpSocket>> {
    // An interface that fails costs its own announcements and no others.
    let log = |error: &io::Error| tracing::debug!(%error, "announcements of devices are not heard");
    let ipv4 = || -> io::Result<Arc<UdpSocket>> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((GROUP_IPV4, port)).into())?;
        let with_ipv4 = chosen.iter().filter(|interface| !interface.ipv4.is_empty());
        with_ipv4.filter_map(|interface| interface.join_ipv4(&socket).err()).for_each(|error| log(&error));
        ready(socket)
    };
    let ipv6 = || -> io::Result<Arc<UdpSocket>> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((GROUP_IPV6, port)).into())?;
        let with_ipv6 = chosen.iter().filter(|interface| !interface.ipv6.is_empty());
        with_ipv6.filter_map(|interface| interface.join_ipv6(&socket).err()).for_each(|error| log(&error));
        ready(socket)
    };
    [ipv4().inspect_err(log), ipv6().inspect_err(log)].into_iter().flatten().collect()
}

async fn multicast(groups: &[Group], probes: &Probes) {
    let begun = Instant::now();
    if groups.is_empty() {
        return;
    }
    for round in ROUNDS {
        sleep_until(begun + round).await;
        for group in groups {
            for datagram in &probes.datagrams {
                if let Err(error) = group.socket.send_to(datagram.as_bytes(), group.group).await {
                    tracing::debug!(%error, group = %group.group, "a probe was not sent");
                }
            }
        }
    }
}

/// Sockets that ask single addresses.
struct Direct {
    ipv4: Option<Arc<UdpSocket>>,
    ipv6: Option<Arc<UdpSocket>>,
}

impl Direct {
    fn open(addresses: &[IpAddr]) -> io::Result<Self> {
        let open = |domain, any: SocketAddr| {
            let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
            socket.bind(&any.into())?;
            ready(socket)
        };
        let ipv4 = addresses.iter().any(IpAddr::is_ipv4);
        let ipv6 = addresses.iter().any(IpAddr::is_ipv6);
        Ok(Self {
            ipv4: ipv4.then(|| open(Domain::IPV4, (Ipv4Addr::UNSPECIFIED, 0).into())).transpose()?,
            ipv6: ipv6.then(|| open(Domain::IPV6, (Ipv6Addr::UNSPECIFIED, 0).into())).transpose()?,
        })
    }

    fn sockets(&self) -> impl Iterator<Item = Arc<UdpSocket>> {
        [&self.ipv4, &self.ipv6].into_iter().flatten().map(Arc::clone)
    }

    /// Asks every address twice: for a camera, and at the end of all for anything.
    async fn ask(&self, addresses: &[IpAddr], port: u16, probes: &Probes, asked: &mpsc::Sender<usize>) {
        let mut tick = interval(GO);
        for (round, datagram) in
            [probes.datagrams.first(), probes.datagrams.last()].into_iter().flatten().enumerate()
        {
            for (go, addresses) in addresses.chunks(ADDRESSES_PER_GO).enumerate() {
                tick.tick().await;
                for address in addresses {
                    let socket = if address.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
                    let Some(socket) = socket else { continue };
                    // An address that cannot be reached is one that does not answer.
                    let _ = socket.send_to(datagram.as_bytes(), (*address, port)).await;
                }
                if round == 0 {
                    let done = go.saturating_mul(ADDRESSES_PER_GO).saturating_add(addresses.len());
                    // Who does not look at the progress misses it.
                    let _ = asked.try_send(done);
                }
            }
        }
    }
}

/// Puts what arrives at a socket into the queue. The kernel drops what the queue does not take in time.
async fn listen(socket: Arc<UdpSocket>, interface: Option<usize>, heard: mpsc::Sender<Heard>) {
    let mut buffer = vec![0; 65_535];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, sender)) => {
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                if heard.send(Heard { bytes, sender: sender.ip(), interface }).await.is_err() {
                    return;
                }
            }
            // An unreachable neighbour is reported on the socket that asked it, once, and means nothing to the others.
            Err(error) => tracing::debug!(%error, "a socket of the scan"),
        }
    }
}
