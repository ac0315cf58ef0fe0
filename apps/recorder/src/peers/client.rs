//! How this node asks others: it makes an acquaintance, registers with it, and from then on calls it by its key.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZeroU16;
use std::time::Duration;

use axum::body::Bytes;
use keepwatch_model::{RoleId, Span, WallTime};
use keepwatch_recording::peer::{
    Arrived, Backup, Check, Hello, Missing, NodeDuty, NodePublic, Nowhere, PRODUCT, PROTOCOL, Password,
    Register, Restore, Restored, Superseded, VERSION, Wanted, own_version,
};
use keepwatch_tls::{IdentityError, NodeKey, NodePublicKey, peer};
use keepwatch_web::{NodeClient, NodeError};

use super::book::is_of;
use super::register::versions_differ;

/// How long a node may take to say who it is, and to let another one in: the check of a password waits for those before it.
const ACQUAINTANCE_PATIENCE: Duration = Duration::from_secs(10);

/// The port at which nodes answer unless another one is said.
pub const PORT: u16 = 8443;

/// Longest answer of a node that is not known: its name and those of its standbys, every byte escaped.
const HELLO_BYTES_MAX: usize = 64 << 10;

/// How this node introduces itself where it registers.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// Its name.
    pub name: String,
    /// The role that it plays.
    pub role: RoleId,
    /// The port at which it answers nodes.
    pub port: u16,
    /// As what it wants to be let in.
    pub duty: NodeDuty,
}

/// What lets this node in at another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The login of an administrator there.
    Administrator {
        /// The user.
        user: String,
        /// The password; it is not kept.
        password: Password,
    },
    /// A token that works once.
    Token(Password),
}

/// A recorder that let this node in.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Its key, by which it is called from here on.
    pub key: NodePublic,
    /// Who it is.
    pub hello: Hello,
}

/// Why a recorder was not registered. Each has its own sentence.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Nobody answers, or no node.
    #[error(transparent)]
    NoAnswer(NodeError),
    /// It is another product.
    #[error("it is no recorder of Keepwatch")]
    OtherProduct,
    /// It has another version; N15.
    #[error("{0}")]
    VersionDiffers(String),
    /// User and password, or the token, are not right, or the user is no administrator.
    #[error("{0}")]
    LoginRefused(String),
    /// Another standby watches it.
    #[error("{0}")]
    RegisteredElsewhere(String),
    /// It is this node itself.
    #[error("a recorder cannot be its own standby; choose another one")]
    Itself,
    /// It refuses for another reason.
    #[error("{detail}")]
    Refused {
        /// The stable code.
        code: String,
        /// What happened and what to do.
        detail: String,
    },
    /// What it says of its key is not what it has proven.
    #[error("it says it has another key than it has shown; look who answers at that address")]
    Forged,
    /// It is not the one that was meant: it has another key. Neither password nor token was sent.
    #[error(
        "who answers there has the key {shown:.16}.., and not that of the recorder which was meant; nothing was sent: look who has \
         that address, and who gave out the token or the key"
    )]
    OtherKey {
        /// The key that it has shown.
        shown: String,
    },
    /// This node's own key cannot be used.
    #[error(transparent)]
    OwnKey(#[from] IdentityError),
}

impl RegisterError {
    /// A stable code for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::NoAnswer(NodeError::Late | NodeError::Unreachable(_) | NodeError::Broken(_)) => {
                "unreachable"
            }
            Self::NoAnswer(_) | Self::OtherProduct => "no_recorder",
            Self::VersionDiffers(_) => "version_differs",
            Self::LoginRefused(_) => "login_refused",
            Self::RegisteredElsewhere(_) => "registered_elsewhere",
            Self::Itself => "registers_itself",
            Self::Refused { code, .. } => code,
            Self::Forged => "forged",
            Self::OtherKey { .. } => "other_key",
            Self::OwnKey(_) => "internal",
        }
    }
}

impl From<NodeError> for RegisterError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Refused { code, detail, .. } => match code.as_str() {
                "version_differs" => Self::VersionDiffers(detail),
                "login_refused" | "role_too_low" | "token_refused" | "login_delayed" => {
                    Self::LoginRefused(detail)
                }
                "registered_elsewhere" => Self::RegisteredElsewhere(detail),
                "registers_itself" => Self::Itself,
                _ => Self::Refused { code, detail },
            },
            error @ (NodeError::Unreachable(_)
            | NodeError::Late
            | NodeError::Other(_)
            | NodeError::NoNode
            | NodeError::Broken(_)
            | NodeError::Unexpected(_)) => Self::NoAnswer(error),
        }
    }
}

/// The address of a node that a text names, like `192.0.2.7`, `[2001:db8::7]:8443` or a name, which is looked up once.
///
/// # Errors
/// A sentence when it names none.
pub async fn resolve(text: String) -> Result<SocketAddr, String> {
    let shown: String = text.chars().take(100).collect();
    let unknown =
        format!("{shown:?} is no address; write it like 192.0.2.7, 192.0.2.7:8443 or [2001:db8::7]:8443");
    let looked = tokio::task::spawn_blocking(move || {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(address);
        }
        if let Ok(host) = text.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
            return Some(SocketAddr::new(host, PORT));
        }
        let named = if text.contains(':') { text } else { format!("{text}:{PORT}") };
        named.to_socket_addrs().ok()?.next()
    });
    looked.await.ok().flatten().ok_or(unknown)
}

/// Asks whoever is at `address` who it is; the key is the one that it has proven.
///
/// # Errors
/// When nobody answers, or no recorder.
pub async fn ask_hello(
    key: &NodeKey,
    address: SocketAddr,
    patience: Duration,
) -> Result<Hello, RegisterError> {
    let client = NodeClient::new(address, peer::client_config(key, None)?);
    let mut client = client.answered_within(HELLO_BYTES_MAX);
    let said = hello(&mut client, patience).await?;
    if said.product != PRODUCT {
        return Err(RegisterError::OtherProduct);
    }
    match client.key() {
        Some(shown) if shown.bytes() == said.key.0 => Ok(said),
        Some(_) | None => Err(RegisterError::Forged),
    }
}

/// How a recorder is approached that is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approach {
    /// What lets this node in.
    pub login: Login,
    /// On purpose also where another standby watches it.
    pub beside: bool,
    /// The first digits of the key that it must have, as many as are known; `None` takes whoever answers at the address.
    pub key: Option<String>,
}

/// Least digits by which somebody says which key is meant: 64 bits.
const KEY_DIGITS_MIN: usize = 16;

impl Approach {
    /// What somebody entered: `user` and `password`, or `token`; and the first digits of the key.
    ///
    /// # Errors
    /// The field that is wrong, and a sentence.
    pub fn read(
        user: Option<String>,
        password: Option<Password>,
        token: Option<Password>,
        key: Option<String>,
    ) -> Result<Self, (&'static str, String)> {
        let login = match (user, password, token) {
            (Some(user), Some(password), None) => Login::Administrator { user, password },
            (None, None, Some(token)) => Login::Token(token),
            (_, _, _) => return Err(("user", "give user and password, or token alone".to_owned())),
        };
        let key = key.map(|digits| key_digits(&digits)).transpose().map_err(|why| ("key", why))?;
        Ok(Self { login, beside: false, key })
    }

    /// Whether the recorder of this key is meant: a token says which one made it.
    fn means(&self, key: NodePublic) -> bool {
        let made = match &self.login {
            Login::Token(token) => is_of(token.expose(), key),
            Login::Administrator { .. } => true,
        };
        made && self.key.as_ref().is_none_or(|digits| key.to_string().starts_with(digits.as_str()))
    }
}

/// The first digits of a key as somebody wrote them.
fn key_digits(text: &str) -> Result<String, String> {
    let digits = text.trim().to_ascii_lowercase();
    if (KEY_DIGITS_MIN..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(digits)
    } else {
        Err(format!("a key has 64 hexadecimal digits; give the first {KEY_DIGITS_MIN} or more of them"))
    }
}

/// Registers this node, which introduces itself with `own`, at the recorder at `address`: only with one of the same version.
///
/// # Errors
/// See [`RegisterError`]; nothing is registered then.
pub async fn register(
    key: &NodeKey,
    own: &Introduction,
    address: SocketAddr,
    approach: &Approach,
) -> Result<Registered, RegisterError> {
    let said = ask_hello(key, address, ACQUAINTANCE_PATIENCE).await?;
    if said.key.0 == key.public()?.bytes() {
        return Err(RegisterError::Itself);
    }
    match said.version() {
        Some(version) if version == own_version() => {}
        // Found out before the password is sent anywhere.
        Some(version) => {
            return Err(RegisterError::VersionDiffers(versions_differ(version, Some(own_version()))));
        }
        None => return Err(RegisterError::OtherProduct),
    }
    // Whoever has the address may be anybody: the login is for one recorder.
    if !approach.means(said.key) {
        return Err(RegisterError::OtherKey { shown: said.key.to_string() });
    }
    let (user, password, token) = match &approach.login {
        Login::Administrator { user, password } => (Some(user.clone()), Some(password.clone()), None),
        Login::Token(token) => (None, None, Some(token.clone())),
    };
    let asked = Register {
        version: VERSION.to_owned(),
        protocol: PROTOCOL,
        name: own.name.clone(),
        role: own.role,
        port: own.port,
        user,
        password,
        token,
        beside: approach.beside,
        duty: own.duty,
    };
    // The login goes to the node that introduced itself, and to no other that may have its address by now.
    let pinned = NodePublicKey::new(said.key.0);
    let mut client = NodeClient::new(address, peer::client_config(key, Some(pinned))?);
    let hello = client.post::<Hello>("/peer/register", &asked, ACQUAINTANCE_PATIENCE).await?;
    Ok(Registered { key: said.key, hello })
}

/// Asks a node who it is.
///
/// # Errors
/// See [`NodeError`].
pub async fn hello(client: &mut NodeClient, patience: Duration) -> Result<Hello, NodeError> {
    client.get("/peer/hello", patience).await
}

/// Asks a primary whether its pictures reach its disks; this node answers at `port`, where that is known.
///
/// # Errors
/// See [`NodeError`].
pub async fn check(
    client: &mut NodeClient,
    port: Option<NonZeroU16>,
    patience: Duration,
) -> Result<Check, NodeError> {
    let target = port.map_or_else(|| "/peer/check".to_owned(), |port| format!("/peer/check?port={port}"));
    client.get(&target, patience).await
}

/// Fetches the whole configuration of a primary. It is to be [opened](Backup::open) before it is kept.
///
/// # Errors
/// See [`NodeError`].
pub async fn backup(client: &mut NodeClient, patience: Duration) -> Result<Backup, NodeError> {
    client.get("/peer/backup", patience).await
}

/// Asks a primary what it lacks of `window`, by the clock of this node, which shows `clock`.
///
/// # Errors
/// See [`NodeError`].
pub async fn missing(
    client: &mut NodeClient,
    window: Span,
    clock: WallTime,
    patience: Duration,
) -> Result<Missing, NodeError> {
    let Span { from, to } = window;
    client.get(&format!("/peer/missing?from={from}&to={to}&clock={clock}"), patience).await
}

/// Asks a recorder what it wants of this edge node, whose clock shows `clock`.
///
/// # Errors
/// See [`NodeError`].
pub async fn wanted(
    client: &mut NodeClient,
    clock: WallTime,
    patience: Duration,
) -> Result<Wanted, NodeError> {
    client.get(&format!("/peer/relay?clock={clock}"), patience).await
}

/// Sends records to a recorder, each as it stands on the disk behind its head; this edge node's clock shows `clock`. It is over
/// when all that can be is on a disk there.
///
/// # Errors
/// See [`NodeError`]; records may have arrived all the same.
pub async fn relay(
    client: &mut NodeClient,
    records: Vec<Bytes>,
    clock: WallTime,
    patience: Duration,
) -> Result<Arrived, NodeError> {
    client.put(&format!("/peer/relay?clock={clock}"), records, patience).await
}

/// Tells a recorder what this edge node has not of what is wanted, and why; its clock shows `clock`.
///
/// # Errors
/// See [`NodeError`].
pub async fn nowhere(
    client: &mut NodeClient,
    told: &Nowhere,
    clock: WallTime,
    patience: Duration,
) -> Result<(), NodeError> {
    client.post(&format!("/peer/relay/nowhere?clock={clock}"), told, patience).await
}

/// Has the recorder take the role of the one that made the backup, in an epoch that is later than every earlier one. It may be
/// asked again after an answer that did not come.
///
/// # Errors
/// See [`NodeError`].
pub async fn restore(
    client: &mut NodeClient,
    asked: &Restore,
    patience: Duration,
) -> Result<Restored, NodeError> {
    client.post("/peer/restore", asked, patience).await
}

/// Tells a recorder that it was replaced, and is watched no more.
///
/// # Errors
/// See [`NodeError`].
pub async fn supersede(
    client: &mut NodeClient,
    told: &Superseded,
    patience: Duration,
) -> Result<(), NodeError> {
    client.post("/peer/superseded", told, patience).await
}

/// Tells a primary that it is watched no more.
///
/// # Errors
/// See [`NodeError`].
pub async fn deregister(client: &mut NodeClient, patience: Duration) -> Result<(), NodeError> {
    client.delete("/peer/register", patience).await
}
