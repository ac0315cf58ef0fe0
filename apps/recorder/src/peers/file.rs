//! `nodes.json` in the data directory: the role that this node plays, and the standbys that are registered; readable by the
//! node only, replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use keepwatch_model::{RoleId, WallTime};
use keepwatch_recording::peer::{EDGE_NODES_MAX, NodeDuty, NodePublic, STANDBYS_MAX, Superseded};
use serde::{Deserialize, Serialize};

/// Name of the file in the data directory.
const FILE_NAME: &str = "nodes.json";
/// Largest file: all nodes and tokens with the longest names.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// The version that is written and read.
const VERSION: u32 = 1;
/// Most tokens that wait for their standby.
pub(super) const TOKENS_MAX: usize = 32;

/// What is kept of other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The role that this node plays.
    pub(super) role: RoleId,
    /// In which epoch.
    pub(super) epoch: u64,
    /// How it came to the role; `None` for that of its store.
    pub(super) taken: Option<Taken>,
    /// Who plays the role since this recorder was replaced; `None` while it was not.
    pub(super) superseded: Option<Superseded>,
    /// Registered standbys, keys distinct.
    pub(super) standbys: Vec<Standby>,
    /// Edge nodes that send here, keys distinct, and names too.
    pub(super) edges: Vec<EdgeNode>,
    /// Tokens with which one registers once.
    pub(super) tokens: Vec<Token>,
}

/// How this node came to its role, so that the same request is known again whose answer was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Taken {
    /// The key of the standby that asked.
    pub(super) by: NodePublic,
    /// The digest of the backup.
    pub(super) digest: String,
}

/// A standby that is registered here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standby {
    /// Its key.
    pub key: NodePublic,
    /// Its name, as it said it.
    pub name: String,
    /// The role that it plays itself.
    pub role: RoleId,
    /// Where it answers nodes: whence it asked last, and the port that it said.
    pub address: SocketAddr,
    /// When it was registered.
    pub since: WallTime,
}

/// An edge node that sends here what it records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeNode {
    /// Its key.
    pub key: NodePublic,
    /// Its name, as it said it, by which cameras name it.
    pub name: String,
    /// The role under which it records.
    pub role: RoleId,
    /// When it was registered.
    pub since: WallTime,
}

/// A token that was given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    /// SHA-256 of its text, in hexadecimal digits: what is kept registers nobody.
    pub(super) hash: String,
    /// When it ends.
    pub(super) expires: WallTime,
    /// As what it lets a node in.
    #[serde(default)]
    pub(super) duty: NodeDuty,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    role: RoleId,
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken: Option<Taken>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    superseded: Option<Superseded>,
    standbys: Vec<Standby>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    edges: Vec<EdgeNode>,
    tokens: Vec<Token>,
}

/// Where it is.
#[derive(Debug)]
pub(super) struct NodesFile {
    data: PathBuf,
}

impl NodesFile {
    /// The file in the directory `data`.
    pub(super) fn new(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    /// What stands in it; of a node that never met another one, whose own role is `own`, when it is not there. Blocks.
    pub(super) fn read(&self, own: RoleId) -> Result<State, String> {
        let path = self.data.join(FILE_NAME);
        let told = |what: String| {
            format!(
                "{}: {what}; restore it from a backup, or remove it and register the standbys anew",
                path.display()
            )
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(State {
                    role: own,
                    epoch: 1,
                    taken: None,
                    superseded: None,
                    standbys: Vec::new(),
                    edges: Vec::new(),
                    tokens: Vec::new(),
                });
            }
            Err(error) => return Err(told(error.to_string())),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| told(error.to_string()))?;
        let form: Form = serde_json::from_slice(&bytes).map_err(|error| told(error.to_string()))?;
        if form.version != VERSION {
            let version = form.version;
            return Err(told(format!("its version is {version}, this program reads {VERSION}")));
        }
        let too_many = form.standbys.len() > STANDBYS_MAX || form.edges.len() > EDGE_NODES_MAX;
        if too_many || form.tokens.len() > TOKENS_MAX {
            return Err(told("it has more entries than are ever written".to_owned()));
        }
        let Form { role, epoch, taken, superseded, standbys, edges, tokens, .. } = form;
        Ok(State { role, epoch, taken, superseded, standbys, edges, tokens })
    }

    /// Writes it beside its place and renames it there: after a crash there is the old one or the whole one. Blocks.
    pub(super) fn write(&self, state: &State) -> io::Result<()> {
        let State { role, epoch, taken, superseded, standbys, edges, tokens } = state.clone();
        let form = Form { version: VERSION, role, epoch, taken, superseded, standbys, edges, tokens };
        let mut text = serde_json::to_vec_pretty(&form)?;
        text.push(b'\n');
        let beside = self.data.join(format!("{FILE_NAME}.new"));
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        target.write_all(&text)?;
        target.sync_all()?;
        fs::rename(&beside, self.data.join(FILE_NAME))?;
        File::open(&self.data)?.sync_all()
    }
}
