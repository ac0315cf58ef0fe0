//! A recorder says that it is there: once it begins, whenever somebody asks, and that it goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::interfaces::{self, Group, Interface};
use crate::message::{MESSAGE_BYTES_MAX, Message, Name, Question, Record, RecordData};
use crate::{PORT, SERVICE};

/// Seconds for which an answer is true: a cable that is pulled takes its recorder off the list in so long (RFC 6762 §10).
const TTL_SECONDS: u32 = 120;
/// The same in an answer to one who does not listen to the group (RFC 6762 §6.7).
const ALONE_TTL_SECONDS: u32 = 10;
/// Time between the two announcements of a beginning (RFC 6762 §8.3), and between two answers to the group (§6).
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether there are other interfaces, or addresses.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Most answers to single askers in a second, by one interface: a flood of questions is not made a flood of answers.
const ALONE_PER_SECOND_MAX: u32 = 50;
/// Most questions that are repeated in an answer to who asked alone: it must not be longer than what was asked.
const REPEATED_MAX: usize = 4;
/// How long it may take to say that it goes.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);
/// Longest name of an instance in bytes, with a space and eight digits behind it.
const NAME_BYTES_MAX: usize = 63 - 9;

/// What is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The recorder's name, as people see it.
    pub name: String,
    /// Digits that no other recorder has: of its key.
    pub digits: String,
    /// The port at which it answers other nodes.
    pub port: u16,
}

/// A recorder that is announced until this is dropped, or better [ended](Self::end), which takes it back.
#[derive(Debug)]
pub struct Announcement {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Announcement {
    /// Announces `service` by the interfaces of these names, all but loopback when there are none.
    pub fn start(service: &Service, names: Vec<String>) -> Self {
        Self::start_at(service, names, PORT)
    }

    /// The same at another port than that of multicast DNS, for tests.
    pub fn start_at(service: &Service, names: Vec<String>, port: u16) -> Self {
        let (stop, stopped) = watch::channel(false);
        let own = Arc::new(Own::new(service));
        Self { stop, task: tokio::spawn(run(own, names, port, stopped)) }
    }

    /// Takes the announcement back.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        let _ = timeout(FAREWELL_PATIENCE, &mut self.task).await;
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Keeps a task for each interface that there is.
async fn run(own: Arc<Own>, names: Vec<String>, port: u16, mut stopped: watch::Receiver<bool>) {
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut known, mut tasks): (Vec<Interface>, JoinSet<()>) = Default::default();
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = told(&mut stopped) => break,
        }
        let found = interfaces::chosen(&names).unwrap_or_default();
        if found != known {
            tasks.shutdown().await;
            for interface in &found {
                for group in interface.listeners(port) {
                    tasks.spawn(speak(group, Arc::clone(&own), interface.clone(), port, stopped.clone()));
                }
            }
            known = found;
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Announces by one interface, answers there, and says farewell.
async fn speak(
    group: Group,
    own: Arc<Own>,
    interface: Interface,
    port: u16,
    mut stopped: watch::Receiver<bool>,
) {
    let Group { socket, group } = group;
    let addresses = own.addresses(&interface);
    // What cannot be sent is asked for again.
    let announce = async |records: Vec<Record>| {
        let said = Message { answers: true, records, ..Message::default() };
        let _ = socket.send_to(&said.write(), group).await;
    };
    let (mut announced, mut again) = (None::<Instant>, Some(Instant::now()));
    let (mut second, mut alone) = (Instant::now(), 0_u32);
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    loop {
        let due = async {
            match again {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            () = told(&mut stopped) => break,
            () = due => {
                again = announced.is_none().then(|| Instant::now() + PAUSE);
                announced = Some(Instant::now());
                announce(own.records(&addresses, TTL_SECONDS)).await;
                continue;
            }
            heard = socket.recv_from(&mut buffer) => heard,
        };
        let Ok((length, from)) = heard else {
            // A neighbour that cannot be reached is told here, once for each; an interface that is gone is told again and again.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        if !interface.is_on_link(from.ip()) {
            continue;
        }
        let Ok(query) = Message::read(buffer.get(..length).unwrap_or_default()) else { continue };
        match own.answer(&query, &addresses, asks_alone(from, port)) {
            Some(Answer::Alone(answer)) => {
                if second.elapsed() >= PAUSE {
                    (second, alone) = (Instant::now(), 0);
                }
                alone = alone.saturating_add(1);
                if alone <= ALONE_PER_SECOND_MAX {
                    let _ = socket.send_to(&answer.write(), from).await;
                }
            }
            // Everybody heard the last one.
            Some(Answer::All(_)) if announced.is_some_and(|at| at.elapsed() < PAUSE) => {}
            Some(Answer::All(records)) => {
                announced = Some(Instant::now());
                announce(records).await;
            }
            None => {}
        }
    }
    announce(own.records(&[], 0)).await;
}

/// Waits until it is to end.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // An error means that nobody can tell any more.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Whether who asks does not listen to the group (RFC 6762 §6.7).
const fn asks_alone(from: SocketAddr, port: u16) -> bool {
    from.port() != port
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// To who asked.
    Alone(Message),
    /// To the group.
    All(Vec<Record>),
}

/// The names of a recorder.
struct Own {
    service: Name,
    instance: Name,
    host: Name,
    port: u16,
}

impl Own {
    fn new(service: &Service) -> Self {
        let Service { name, digits, port } = service;
        let digits: String = digits.chars().take(16).collect();
        let mut label = String::new();
        for letter in name.chars().filter(|letter| !letter.is_control()) {
            if label.len() + letter.len_utf8() > NAME_BYTES_MAX {
                break;
            }
            label.push(letter);
        }
        let short: String = digits.chars().take(8).collect();
        let parent = Name::new(SERVICE);
        Self {
            instance: Name::within(&format!("{label} {short}"), &parent),
            host: Name::new([format!("keepwatch-{digits}").as_str(), "local"]),
            service: parent,
            port: *port,
        }
    }

    /// The addresses of the recorder at an interface.
    fn addresses(&self, interface: &Interface) -> Vec<Record> {
        let ipv4 = interface.ipv4.iter().map(|address| RecordData::Ipv4(*address));
        let ipv6 = interface.ipv6.iter().map(|address| RecordData::Ipv6(*address));
        ipv4.chain(ipv6).take(8).map(|data| self.record(&self.host, TTL_SECONDS, data)).collect()
    }

    fn record(&self, name: &Name, ttl_seconds: u32, data: RecordData) -> Record {
        Record { unique: *name != self.service, name: name.clone(), ttl_seconds, data }
    }

    /// All that is said of the recorder.
    fn records(&self, addresses: &[Record], ttl_seconds: u32) -> Vec<Record> {
        let place = RecordData::Place { port: self.port, host: self.host.clone() };
        let mut records = vec![
            self.record(&self.service, ttl_seconds, RecordData::Instance(self.instance.clone())),
            self.record(&self.instance, ttl_seconds, place),
            self.record(&self.instance, ttl_seconds, RecordData::NoText),
        ];
        records.extend(addresses.iter().map(|record| Record { ttl_seconds, ..record.clone() }));
        records
    }

    /// What is answered to `query`, if anything.
    fn answer(&self, query: &Message, addresses: &[Record], alone: bool) -> Option<Answer> {
        if query.answers {
            return None;
        }
        let records = self.records(addresses, if alone { ALONE_TTL_SECONDS } else { TTL_SECONDS });
        let asked = |question: &&Question| records.iter().any(|record| question.is_answered_by(record));
        let mut questions: Vec<Question> = Vec::new();
        for question in query.questions.iter().filter(asked) {
            if questions.len() < REPEATED_MAX && !questions.contains(question) {
                questions.push(question.clone());
            }
        }
        let first = questions.first()?;
        if alone {
            let records = records.into_iter().map(|record| Record { unique: false, ..record }).collect();
            return Some(Answer::Alone(Message { id: query.id, answers: true, questions, records }));
        }
        // RFC 6762 §7.1: who asks knows already, for half of its time at least.
        let knows = |known: &Record| {
            known.ttl_seconds >= TTL_SECONDS / 2
                && matches!(&known.data, RecordData::Instance(name) if *name == self.instance)
        };
        let only_instances = questions.len() == 1 && first.name == self.service;
        if only_instances && query.records.iter().any(knows) {
            return None;
        }
        Some(Answer::All(records))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Own {
        let name = format!("Nörth{}", "x".repeat(100));
        Own::new(&Service { name, digits: "0a1b2c3d4e5f60718293".to_owned(), port: 8443 })
    }

    fn question() -> Message {
        let questions = vec![Question::instances(Name::new(SERVICE), false)];
        Message { id: 9, questions, ..Message::default() }
    }

    #[test]
    fn who_does_not_listen_to_the_group_is_answered_alone_and_briefly() {
        let Some(Answer::Alone(answer)) = own().answer(&question(), &[], true) else { panic!("no answer") };
        assert_eq!((answer.id, answer.questions.len(), answer.records.len()), (9, 1, 3));
        assert!(answer.records.iter().all(|record| record.ttl_seconds == 10 && !record.unique));
        assert_eq!(Message::read(&answer.write()), Ok(answer));
    }

    #[test]
    fn a_question_that_is_repeated_makes_no_longer_answer() {
        let mut often = question();
        let once = own().answer(&often, &[], true);
        often.questions = vec![often.questions[0].clone(); 200];
        assert_eq!(own().answer(&often, &[], true), once);
        let names = [own().service, own().instance, own().host];
        let kinds = names.iter().flat_map(|name| [1, 12, 16, 28, 33, 255].map(|kind| (name.clone(), kind)));
        often.questions = kinds.map(|(name, kind)| Question { name, kind, alone: true }).collect();
        let Some(Answer::Alone(answer)) = own().answer(&often, &[], true) else { panic!("no answer") };
        assert_eq!(answer.questions.len(), REPEATED_MAX);
    }

    #[test]
    fn who_knows_already_and_who_asks_for_others_is_not_answered() {
        let own = own();
        let Some(Answer::All(records)) = own.answer(&question(), &[], false) else { panic!("no answer") };
        let mut knows = question();
        knows.records = records;
        assert_eq!(own.answer(&knows, &[], false), None);
        knows.records[0].ttl_seconds = 59;
        assert!(own.answer(&knows, &[], false).is_some());
        let printer = Name::new(["_ipp", "_tcp", "local"]);
        let other = Message { questions: vec![Question::instances(printer, true)], ..Message::default() };
        assert_eq!(own.answer(&other, &[], true), None);
        assert_eq!(own.answer(&Message { answers: true, ..question() }, &[], true), None);
    }
}
