//! What a device says of itself, and to whom. Pure but for the backend, which is asked who it is.

use std::sync::Arc;

use super::super::Backend;
use super::super::management;
use crate::discovery::{Content, Message, Sequence, Target};
use crate::uuid::uuid;

/// Types of the device; ONVIF Core "Types" wants both.
const TYPES: [&str; 2] = ["dn:NetworkVideoTransmitter", "tds:Device"];

/// A device in the network.
pub(super) struct Presence {
    backend: Arc<dyn Backend>,
    sequence: Sequence,
    /// What is told to who asks.
    scopes: Vec<String>,
    /// Grows whenever that changes.
    version: u32,
    /// What everybody was told last; `None` before the first Hello.
    announced: Option<Vec<String>>,
}

impl Presence {
    /// A device that was started as `instance`.
    pub(super) fn new(backend: Arc<dyn Backend>, instance: u32) -> Self {
        let scopes = management::scopes(&*backend);
        Self { backend, sequence: Sequence { instance, number: 0 }, scopes, version: 1, announced: None }
    }

    /// Whether what it says is something else than everybody was told.
    pub(super) fn has_changed(&mut self) -> bool {
        self.look();
        self.announced.as_ref() != Some(&self.scopes)
    }

    fn look(&mut self) {
        let scopes = management::scopes(&*self.backend);
        if scopes != self.scopes {
            self.scopes = scopes;
            self.version = self.version.saturating_add(1);
        }
    }

    fn target(&mut self, addresses: &[String]) -> Target {
        self.look();
        Target {
            endpoint: format!("urn:uuid:{}", self.backend.identity().endpoint),
            types: TYPES.map(str::to_owned).to_vec(),
            scopes: self.scopes.clone(),
            addresses: addresses.to_vec(),
            metadata_version: self.version,
        }
    }

    fn message(&mut self, relates_to: Option<String>, content: Content) -> String {
        self.sequence.number = self.sequence.number.wrapping_add(1);
        Message { id: format!("urn:uuid:{}", uuid()), relates_to, content }.write_numbered(self.sequence)
    }

    /// That it has come, and is found at `addresses`.
    pub(super) fn hello(&mut self, addresses: &[String]) -> String {
        let target = self.target(addresses);
        self.announced = Some(self.scopes.clone());
        self.message(None, Content::Hello(target))
    }

    /// That it leaves.
    pub(super) fn bye(&mut self, addresses: &[String]) -> String {
        let target = self.target(addresses);
        self.message(None, Content::Bye(target))
    }

    /// The answer to a datagram; `None` when it is not meant, and for all that is no question. `service` is asked for the
    /// device's address only when there is an answer.
    pub(super) fn answer(
        &mut self,
        datagram: &[u8],
        service: impl FnOnce() -> Option<String>,
    ) -> Option<String> {
        let question = Message::read(datagram).ok()?;
        let mut target = self.target(&[]);
        // Without a name the client could not tell whose answer it is.
        let relates_to = Some(question.id).filter(|id| !id.is_empty())?;
        let answer: fn(Vec<Target>) -> Content = match question.content {
            Content::Probe(probe) if target.is_meant_by(&probe) => Content::ProbeMatches,
            Content::Resolve(endpoint) if endpoint.trim().eq_ignore_ascii_case(&target.endpoint) => {
                Content::ResolveMatches
            }
            // A probe that nobody here matches is not answered (WS-Discovery §5.2), nor is what others say.
            Content::Probe(_)
            | Content::Resolve(_)
            | Content::ProbeMatches(_)
            | Content::ResolveMatches(_)
            | Content::Hello(_)
            | Content::Bye(_) => return None,
        };
        target.addresses.push(service()?);
        Some(self.message(Some(relates_to), answer(vec![target])))
    }
}
