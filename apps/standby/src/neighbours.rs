//! The world as it is: lines to primaries over TLS between nodes, and the recorder of this node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use keepwatch_model::{CameraId, EventCode, RoleId, Span, Subject, WallTime};
use keepwatch_recorder::Node;
use keepwatch_recorder::config::CameraConfig;
use keepwatch_recorder::guests::{Duty, Guest};
use keepwatch_recorder::peers::{self, Introduction, RegisterError};
use keepwatch_recording::failover::Missed;
use keepwatch_recording::peer::{
    Backup, CameraBackup, Hello, Missing, NodeDuty, NodePublic, Restore, Restored, Superseded,
};
use keepwatch_settings::standby::{FormerRow, PrimaryRow};
use keepwatch_tls::{NodeKey, NodePublicKey, peer};
use keepwatch_web::{NodeClient, NodeError};

use crate::refusal;
use crate::world::{Answer, Checked, Failure, Line, Lines, Recorder, RegisterRefusal, RegisterWish};

/// How long a recorder may take that is told that it is watched no more.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(5);

/// How long a recorder may take to say who it is.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);

/// What is answered by a recorder that need not be told again that it was replaced: it does not know this standby, or plays
/// another role by now.
const TOLD_ALREADY: [&str; 2] = ["not_registered", "epoch_stale"];

/// How long a recorder may take to take up a whole configuration.
const RESTORE_PATIENCE: Duration = Duration::from_secs(60);

/// The way to other nodes.
pub(crate) struct Neighbours {
    node: Node,
    key: Arc<NodeKey>,
    /// Where this node answers others; 0 while it is not known.
    port: Arc<AtomicU16>,
}

impl Neighbours {
    /// The way from `node`, which proves who it is by its key and answers at `port`.
    pub(crate) async fn new(node: &Node, port: Arc<AtomicU16>) -> Result<Self, String> {
        let key = node.node_key().await.map_err(|error| error.to_string())?;
        Ok(Self { node: node.clone(), key, port })
    }

    /// The key by which it is known.
    pub(crate) fn key(&self) -> Arc<NodeKey> {
        Arc::clone(&self.key)
    }

    /// A client for the node of `key`, as it is kept.
    fn client(&self, address: SocketAddr, key: &str) -> Result<NodeClient, Failure> {
        let pinned: NodePublic =
            key.parse().map_err(|error| Failure::unusable(format!("its key is none: {error}")))?;
        let tls = peer::client_config(&self.key, Some(NodePublicKey::new(pinned.0)))
            .map_err(|error| Failure::unusable(error.to_string()))?;
        Ok(NodeClient::new(address, tls))
    }

    /// Asks who is there, who may be anybody.
    async fn ask_who(&self, address: SocketAddr) -> Result<Hello, RegisterRefusal> {
        let said = peers::ask_hello(&self.key, address, HELLO_PATIENCE).await;
        said.map_err(|error| told(&error, address))
    }

    /// Registers at a recorder, and has it take a role. Where it does not, it is as before, unless its answer was lost.
    async fn hand_over(
        &self,
        wish: RegisterWish,
        restore: Restore,
    ) -> Result<(Hello, Restored), RegisterRefusal> {
        let address = wish.address;
        let before = self.ask_who(address).await?;
        let hello = self.introduce(wish).await?;
        let unreachable = |failure: Failure| refusal("unreachable", failure.text);
        let mut client = self.client(address, &hello.key.to_string()).map_err(unreachable)?;
        let error = match peers::restore(&mut client, &restore, RESTORE_PATIENCE).await {
            Ok(restored) => return Ok((hello, restored)),
            Err(error) => error,
        };
        let NodeError::Refused { code, detail, .. } = error else {
            // It may have taken the role: asked again, it says so.
            return Err(unreachable(error.into()));
        };
        if !before.watched_by.contains(&self.node.name()) {
            // It plays no role that is watched here.
            let _ = peers::deregister(&mut client, FAREWELL_PATIENCE).await;
        }
        Err(refusal(&code, detail))
    }

    async fn introduce(&self, wish: RegisterWish) -> Result<Hello, RegisterRefusal> {
        let port = self.port.load(Ordering::Relaxed);
        if port == 0 {
            let detail = "this node does not answer on the network yet; see its log, and try again";
            return Err(refusal("not_listening", detail));
        }
        let (role, _) = self.node.peers().role();
        let own = Introduction { name: self.node.name(), role, port, duty: NodeDuty::Standby };
        let RegisterWish { address, approach } = wish;
        let registered = peers::register(&self.key, &own, address, &approach).await;
        registered.map(|registered| registered.hello).map_err(|error| told(&error, address))
    }
}

/// A refusal in its own words; what the system said of a connection that was not made is added.
fn told(error: &RegisterError, address: SocketAddr) -> RegisterRefusal {
    let code = error.code().to_owned();
    let detail = match error {
        RegisterError::NoAnswer(cause) => format!("{address}: {cause}"),
        RegisterError::OtherProduct
        | RegisterError::VersionDiffers(_)
        | RegisterError::LoginRefused(_)
        | RegisterError::RegisteredElsewhere(_)
        | RegisterError::Itself
        | RegisterError::Refused { .. }
        | RegisterError::Forged
        | RegisterError::OtherKey { .. }
        | RegisterError::OwnKey(_) => error.to_string(),
    };
    RegisterRefusal { code, detail }
}

impl Lines for Neighbours {
    fn line(&self, primary: &PrimaryRow) -> Result<Box<dyn Line>, Failure> {
        let client = self.client(primary.address, &primary.key)?;
        Ok(Box::new(Kept { role: primary.role, port: Arc::clone(&self.port), client }))
    }

    fn register(&self, wish: RegisterWish) -> Answer<'_, Result<Hello, RegisterRefusal>> {
        Box::pin(self.introduce(wish))
    }

    fn ask(&self, address: SocketAddr) -> Answer<'_, Result<Hello, RegisterRefusal>> {
        Box::pin(self.ask_who(address))
    }

    fn supersede(&self, former: &FormerRow, told: Superseded) -> Answer<'_, Result<(), Failure>> {
        let client = self.client(former.address, &former.key);
        Box::pin(async move {
            match peers::supersede(&mut client?, &told, FAREWELL_PATIENCE).await {
                Err(NodeError::Refused { code, .. }) if TOLD_ALREADY.contains(&code.as_str()) => Ok(()),
                told => Ok(told?),
            }
        })
    }

    fn replace(
        &self,
        wish: RegisterWish,
        restore: Restore,
    ) -> Answer<'_, Result<(Hello, Restored), RegisterRefusal>> {
        Box::pin(self.hand_over(wish, restore))
    }

    fn deregister(&self, primary: &PrimaryRow) -> Answer<'_, Result<(), Failure>> {
        let client = self.client(primary.address, &primary.key);
        Box::pin(async move { Ok(peers::deregister(&mut client?, FAREWELL_PATIENCE).await?) })
    }
}

/// A kept connection.
struct Kept {
    role: RoleId,
    /// As in [`Neighbours`]: the primary fetches there what it missed, and hears of each change.
    port: Arc<AtomicU16>,
    client: NodeClient,
}

impl Line for Kept {
    fn check(&mut self, patience: Duration) -> Answer<'_, Result<Checked, Failure>> {
        let port = NonZeroU16::new(self.port.load(Ordering::Relaxed));
        Box::pin(
            async move { Checked::of(self.role, &peers::check(&mut self.client, port, patience).await?) },
        )
    }

    fn backup(&mut self, patience: Duration) -> Answer<'_, Result<Backup, Failure>> {
        Box::pin(async move { Ok(peers::backup(&mut self.client, patience).await?) })
    }

    fn missing(
        &mut self,
        window: Span,
        clock: WallTime,
        patience: Duration,
    ) -> Answer<'_, Result<Missing, Failure>> {
        Box::pin(async move {
            let said = peers::missing(&mut self.client, window, clock, patience).await?;
            let other = || Failure::unusable(format!("role {} answers in its place", said.role));
            (said.role == self.role).then_some(()).ok_or_else(other)?;
            Ok(said)
        })
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        let missed = match error {
            NodeError::Late => Missed::Late,
            NodeError::Unreachable(_) | NodeError::Broken(_) => Missed::Disconnected,
            NodeError::Other(_)
            | NodeError::NoNode
            | NodeError::Refused { .. }
            | NodeError::Unexpected(_) => Missed::Unusable,
        };
        Self { missed, text: error.to_string() }
    }
}

/// The recorder of this node.
pub(crate) struct Beside {
    node: Node,
}

impl Beside {
    /// The recorder `node`.
    pub(crate) const fn new(node: Node) -> Self {
        Self { node }
    }
}

impl Recorder for Beside {
    fn own_cameras(&self) -> BTreeSet<CameraId> {
        self.node.own_cameras().into_iter().collect()
    }

    fn set_guests(&self, role: RoleId, guests: Vec<Guest>) -> Answer<'_, Result<(), String>> {
        Box::pin(async move {
            self.node
                .set_guests(role, guests)
                .await
                .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })
    }

    fn set_duty(&self, role: RoleId, camera: CameraId, duty: Duty) -> bool {
        self.node.set_duty(role, camera, duty).is_ok()
    }

    fn save(&self, role: RoleId, camera: CameraId, span: Span) {
        self.node.save(role, camera, span);
    }

    fn trim(&self, role: RoleId, camera: CameraId, until: WallTime) {
        self.node.trim(role, camera, until);
    }

    fn durable_from(&self, role: RoleId, camera: CameraId) -> Option<WallTime> {
        Some(self.node.guest(role, camera)?.durable?.from)
    }

    fn set_watched(&self, primaries: BTreeMap<NodePublic, RoleId>) {
        self.node.peers().watch(primaries);
    }

    fn try_guest(&self, role: RoleId, camera: CameraId) -> Answer<'_, bool> {
        Box::pin(self.node.try_guest(role, camera))
    }

    fn read_camera(&self, camera: &CameraBackup, local: CameraId) -> Result<CameraConfig, String> {
        peers::camera_config(camera, local).map_err(|errors| {
            let told = errors.iter().map(|error| format!("{}: {}", error.field, error.detail));
            told.collect::<Vec<_>>().join("; ")
        })
    }

    fn add_event(&self, code: EventCode, subject: Subject, text: String) {
        tracing::info!(%code, "{text}");
        self.node.add_event(code, subject, text);
    }
}
