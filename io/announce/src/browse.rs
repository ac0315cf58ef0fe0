//! Who looks for recorders: questions by every interface, and of the answers nothing but addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::interfaces::{self, Group};
use crate::message::{MESSAGE_BYTES_MAX, Message, Name, Question, RecordData};
use crate::{PORT, SERVICE};

/// When it is asked first: datagrams are lost. Then every [`AGAIN`].
const ROUNDS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_millis(1500)];
/// Time between two questions later on (RFC 6762 §5.2).
const AGAIN: Duration = Duration::from_secs(5);
/// Most addresses of a search: a site has some tens of recorders, and a stranger can make up any number.
const ADDRESSES_MAX: usize = 1024;
/// Most of them that one sender told, and most at one host: nobody fills a search alone. By IPv6 a host has as many addresses to
/// send from as it likes, so that one that means to can fill one, which takes twelve
/// seconds more then; recorders can be looked for by their addresses.
const SENDER_ADDRESSES_MAX: usize = 32;
/// See [`SENDER_ADDRESSES_MAX`].
const HOST_ADDRESSES_MAX: usize = 8;
/// Most addresses that are taken from one answer.
const ANSWER_ADDRESSES_MAX: usize = 16;
/// Answers that wait to be looked at.
const QUEUE: usize = 256;

/// What to browse.
#[derive(Clone, Debug)]
pub struct BrowseOptions {
    /// Interfaces to ask by, by name; empty means all but loopback.
    pub interfaces: Vec<String>,
    /// The port of multicast DNS; another one only in tests.
    pub port: u16,
}

impl Default for BrowseOptions {
    fn default() -> Self {
        Self { interfaces: Vec::new(), port: PORT }
    }
}

/// Asks for recorders until the future is dropped, and hands every address that is new to `found`. What answers there may be
/// anything.
///
/// # Errors
/// When the interfaces cannot be listed, or there is none to ask by.
pub async fn browse(options: &BrowseOptions, mut found: impl FnMut(SocketAddr)) -> io::Result<()> {
    let chosen = interfaces::chosen(&options.interfaces)?;
    let (heard, mut queue) = mpsc::channel(QUEUE);
    let mut asking = JoinSet::new();
    for group in chosen.iter().flat_map(|interface| interface.askers(options.port)) {
        asking.spawn(ask(group, heard.clone()));
    }
    drop(heard);
    if asking.is_empty() {
        let what = "there is no network interface to look for recorders by; name their addresses";
        return Err(io::Error::new(io::ErrorKind::NetworkUnreachable, what));
    }
    let mut known = Known::default();
    while let Some((sender, address)) = queue.recv().await {
        if known.is_new(sender, address) {
            found(address);
        }
    }
    Ok(())
}

/// What was found, within its bounds.
#[derive(Default)]
struct Known {
    addresses: BTreeSet<SocketAddr>,
    by_sender: BTreeMap<IpAddr, usize>,
    by_host: BTreeMap<IpAddr, usize>,
}

impl Known {
    /// Whether an address that `sender` told is a new one that is to be told.
    fn is_new(&mut self, sender: IpAddr, address: SocketAddr) -> bool {
        if self.addresses.len() >= ADDRESSES_MAX || self.addresses.contains(&address) {
            return false;
        }
        // No more senders and hosts are counted than there are addresses.
        let told = self.by_sender.get(&sender).copied().unwrap_or(0);
        let there = self.by_host.get(&address.ip()).copied().unwrap_or(0);
        if told >= SENDER_ADDRESSES_MAX || there >= HOST_ADDRESSES_MAX {
            return false;
        }
        self.by_sender.insert(sender, told + 1);
        self.by_host.insert(address.ip(), there + 1);
        self.addresses.insert(address)
    }
}

/// Asks by one interface and hears the answers.
async fn ask(group: Group, heard: mpsc::Sender<(IpAddr, SocketAddr)>) {
    let Group { socket, group } = group;
    let service = Name::new(SERVICE);
    let question = Question::instances(service.clone(), true);
    let question = Message { questions: vec![question], ..Message::default() }.write();
    let asks = async {
        let begun = Instant::now();
        for round in ROUNDS {
            sleep_until(begun + round).await;
            let _ = socket.send_to(&question, group).await;
        }
        loop {
            sleep(AGAIN).await;
            let _ = socket.send_to(&question, group).await;
        }
    };
    let hears = async {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(answer) = Message::read(buffer.get(..length).unwrap_or_default()) else { continue };
            for address in addresses(&answer, &service, from) {
                if heard.send((from.ip(), address)).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = asks => {}
        () = hears => {}
    }
}

/// Where recorders may be by an answer that came from `from`: at the sender, and where it says that its host is.
fn addresses(answer: &Message, service: &Name, from: SocketAddr) -> BTreeSet<SocketAddr> {
    let mut addresses = BTreeSet::new();
    if !answer.answers {
        return addresses;
    }
    for place in &answer.records {
        let RecordData::Place { port, host } = &place.data else { continue };
        if !place.name.is_in(service) || *port == 0 || place.ttl_seconds == 0 {
            continue;
        }
        let mut sender = from;
        sender.set_port(*port);
        addresses.insert(sender);
        for record in answer.records.iter().filter(|record| record.name == *host) {
            let ip = match record.data {
                RecordData::Ipv4(ip) => IpAddr::from(ip),
                RecordData::Ipv6(ip) => IpAddr::from(ip).to_canonical(),
                RecordData::Instance(_) | RecordData::Place { .. } | RecordData::NoText => continue,
            };
            if may_be_asked(ip) {
                addresses.insert(SocketAddr::new(ip, *port));
            }
        }
        if addresses.len() >= ANSWER_ADDRESSES_MAX {
            break;
        }
    }
    addresses.into_iter().take(ANSWER_ADDRESSES_MAX).collect()
}

/// Whether somebody else may name `ip`, which is canonical: nobody may send a search to the services of this machine itself, or
/// to a group. An address of a link means something on it alone, and is the sender's if it is one.
fn may_be_asked(ip: IpAddr) -> bool {
    let of_link = match ip {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !of_link && !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use crate::message::Record;

    use super::*;

    #[test]
    fn nothing_but_addresses_is_taken_and_none_that_leads_into_this_machine() {
        let (service, host) = (Name::new(SERVICE), Name::new(["h", "local"]));
        let instance = Name::within("n", &service);
        let record = |name: &Name, data| Record { name: name.clone(), ttl_seconds: 10, unique: false, data };
        let place = RecordData::Place { port: 8443, host: host.clone() };
        let mut records = vec![
            record(&instance, place.clone()),
            record(
                &Name::within("n", &Name::new(["_ipp", "_tcp", "local"])),
                RecordData::Place { port: 631, host: host.clone() },
            ),
        ];
        for ip in ["192.0.2.7", "127.0.0.1", "224.0.0.1", "169.254.1.1", "255.255.255.255"] {
            records.push(record(&host, RecordData::Ipv4(ip.parse().unwrap())));
        }
        for ip in ["2001:db8::7", "::1", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.1.1"] {
            records.push(record(&host, RecordData::Ipv6(ip.parse().unwrap())));
        }
        let answer = Message { answers: true, records, ..Message::default() };
        let from = "192.0.2.9:5353".parse().unwrap();
        let expected: Vec<SocketAddr> = ["192.0.2.7:8443", "192.0.2.9:8443", "[2001:db8::7]:8443"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(addresses(&answer, &service, from).into_iter().collect::<Vec<_>>(), expected);
        let gone = Message {
            answers: true,
            records: vec![Record { ttl_seconds: 0, ..record(&instance, place) }],
            ..Message::default()
        };
        assert!(addresses(&gone, &service, from).is_empty());
    }

    #[test]
    fn nobody_fills_a_search_alone() {
        let ip = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut known = Known::default();
        let ports = (1..=100).filter(|port| known.is_new(ip(1), SocketAddr::new(ip(1), *port))).count();
        assert_eq!(ports, HOST_ADDRESSES_MAX);
        let others = (2..=200).filter(|last| known.is_new(ip(1), SocketAddr::new(ip(*last), 8443))).count();
        assert_eq!(others, SENDER_ADDRESSES_MAX - HOST_ADDRESSES_MAX);
        assert!(known.is_new(ip(250), SocketAddr::new(ip(250), 8443)), "and another one is heard");
        assert!(!known.is_new(ip(250), SocketAddr::new(ip(250), 8443)));
    }
}
