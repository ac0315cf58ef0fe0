//! What a scan has found: answers joined by device, and who may say that a device has gone.
//!
//! Nothing here is proven, but some things weigh more than others. An answer to a probe names it, so who answers was asked;
//! a Hello or a Bye can be made up by anybody, for any device. So answers outrank what is announced, and a Bye neither takes
//! away a device that answered, nor counts when it comes from elsewhere than the device.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use url::Host;

use super::found::Found;
use super::interfaces::Interface;
use super::message::{Content, Message, Target};
use super::scan::{Findings, Heard, Probes, Unreachable};
use super::tally::Tally;

/// Devices that are kept, and others that are told apart.
const DEVICES_MAX: usize = 4096;

/// Devices, and others, of one sender: as many as can answer every probe within what is read of a sender. Recorders and
/// virtual cameras share an address; one that makes up more must not take the place of all others.
const DEVICES_OF_SENDER_MAX: usize = 256;

/// What was found until now.
pub(super) struct Collection<'a> {
    chosen: &'a [Interface],
    all: &'a [Interface],
    probes: &'a Probes,
    /// By endpoint, whose case devices change.
    devices: BTreeMap<String, Known>,
    /// Endpoints of those that are no devices of ONVIF.
    others: BTreeSet<String>,
    /// By endpoint: those that cannot be written down.
    unreachable: BTreeMap<String, Unreachable>,
    /// How many of all these each sender was the first to tell of.
    told: BTreeMap<IpAddr, usize>,
    tally: Tally,
}

/// A device, and why it is believed to be there.
struct Known {
    found: Found,
    /// Whether it answered a probe of this scan; else it was only announced.
    answered: bool,
    /// Whether it said that it leaves.
    left: bool,
}

impl Known {
    /// Whether a Bye can be the device's own: it comes from where the device is reached, or was first heard.
    fn is_heard_from(&self, sender: IpAddr) -> bool {
        let host = match self.found.address.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        host == Some(sender) || self.found.senders.first() == Some(&sender)
    }

    /// Takes what was heard of it once more.
    fn hear(&mut self, found: Found, answered: bool) {
        self.left = false;
        match (self.answered, answered) {
            (false, true) => {
                self.answered = true;
                self.found = found;
            }
            // Whoever announces it cannot change what it answered.
            (true, false) => {}
            (true, true) | (false, false) => self.found.join(found),
        }
    }
}

impl<'a> Collection<'a> {
    /// Nothing yet. `chosen` are the interfaces that are scanned on, `all` those whose subnets count as near.
    pub(super) fn new(chosen: &'a [Interface], all: &'a [Interface], probes: &'a Probes) -> Self {
        Self {
            chosen,
            all,
            probes,
            devices: BTreeMap::new(),
            others: BTreeSet::new(),
            unreachable: BTreeMap::new(),
            told: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Reads a datagram; returns a device that was not known before.
    pub(super) fn take(&mut self, heard: &Heard) -> Option<&Found> {
        let sender = heard.sender.to_canonical();
        if !self.tally.admits(sender, heard.bytes.len()) {
            return None;
        }
        let Ok(message) = Message::read(&heard.bytes) else {
            self.tally.counts.malformed = self.tally.counts.malformed.saturating_add(1);
            return None;
        };
        let (targets, answered) = match message.content {
            Content::ProbeMatches(targets) if self.probes.include(message.relates_to.as_deref()) => {
                (targets, true)
            }
            Content::Hello(target) => (vec![target], false),
            Content::Bye(target) => {
                self.leave(&target, sender);
                return None;
            }
            // Our own probes come back by the loop, and others scan too.
            Content::Probe(_) | Content::Resolve(_) => return None,
            Content::ProbeMatches(_) | Content::ResolveMatches(_) => {
                self.tally.counts.unrelated = self.tally.counts.unrelated.saturating_add(1);
                return None;
            }
        };
        self.tally.counts.answers = self.tally.counts.answers.saturating_add(1);
        let interface = heard.interface.and_then(|position| self.chosen.get(position));
        let mut added = None;
        for target in targets {
            let key = target.endpoint.to_ascii_lowercase();
            if !target.is_of_onvif() {
                // One that names itself by some answers only is known by those.
                if !self.others.contains(&key) && self.others.len() < DEVICES_MAX && self.admits(sender) {
                    self.others.insert(key);
                }
                continue;
            }
            let Some(found) = Found::new(&target, sender, interface, self.all) else {
                let known = self.unreachable.contains_key(&key);
                if answered && !known && self.unreachable.len() < DEVICES_MAX && self.admits(sender) {
                    let interface = interface.map(|interface| interface.name.clone());
                    let endpoint = target.endpoint.clone();
                    self.unreachable.insert(key, Unreachable { endpoint, sender, interface });
                }
                continue;
            };
            if let Some(known) = self.devices.get_mut(&key) {
                known.hear(found, answered);
            } else if self.devices.len() < DEVICES_MAX && self.admits(sender) {
                self.devices.insert(key.clone(), Known { found, answered, left: false });
                added = Some(key);
            }
        }
        self.devices.get(&added?).map(|known| &known.found)
    }

    /// Whether `sender` may tell of one more.
    fn admits(&mut self, sender: IpAddr) -> bool {
        // Senders are as many as the tally tells apart.
        let told = self.told.entry(sender).or_default();
        let admitted = *told < DEVICES_OF_SENDER_MAX;
        if admitted {
            *told = told.saturating_add(1);
        } else {
            self.tally.counts.refused = self.tally.counts.refused.saturating_add(1);
        }
        admitted
    }

    /// Marks a device that leaves, if it can be the device that says so.
    fn leave(&mut self, target: &Target, sender: IpAddr) {
        let known = self.devices.get_mut(&target.endpoint.to_ascii_lowercase());
        if let Some(known) = known.filter(|known| !known.answered && known.is_heard_from(sender)) {
            known.left = true;
        }
    }

    /// Puts what was found into the findings.
    pub(super) fn finish(self, findings: &mut Findings) {
        let Self { devices, others, unreachable, tally, .. } = self;
        let nameless = unreachable.into_iter().filter(|(endpoint, _)| !devices.contains_key(endpoint));
        findings.unreachable = nameless.map(|(_, device)| device).collect();
        findings.others = others.iter().filter(|endpoint| !devices.contains_key(*endpoint)).count();
        findings.devices =
            devices.into_values().filter(|known| !known.left).map(|known| known.found).collect();
        findings.counts = tally.counts;
    }
}
