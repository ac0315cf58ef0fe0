//! What a page is sent of a live stream, in the order and at the times it came.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use keepwatch_model::WallTime;
use serde_json::Value;

use crate::{Picture, Received, Site, WebSocket};

/// What a page was sent.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// All texts.
    pub texts: Vec<Value>,
    /// All binary messages, one behind the other: a file that players read.
    pub file: Vec<u8>,
    /// Where each message begins in the file, and when it came.
    pub came: Vec<(u64, WallTime)>,
}

impl Watched {
    /// Takes what comes for so long.
    pub fn take(&mut self, socket: &mut WebSocket, length: Duration) -> Result<()> {
        let end = Instant::now() + length;
        while let Some(received) = socket.receive(end.saturating_duration_since(Instant::now()))? {
            match received {
                Received::Text(text) => self.texts.push(text),
                Received::Binary(bytes) => {
                    self.came.push((u64::try_from(self.file.len())?, now()?));
                    self.file.extend(bytes);
                }
                Received::Close(code, reason) => bail!("closed with {code}: {reason}"),
            }
        }
        Ok(())
    }

    /// The texts of one kind.
    pub fn told(&self, kind: &str) -> Vec<&Value> {
        self.texts.iter().filter(|text| text["type"] == kind).collect()
    }

    /// Writes what came to a file of the site.
    pub fn save(&self, site: &Site, name: &str) -> Result<PathBuf> {
        let path = site.path().join(name);
        std::fs::write(&path, &self.file)?;
        Ok(path)
    }

    /// When the message came that holds a picture.
    pub fn arrival(&self, picture: &Picture) -> Option<WallTime> {
        self.came.iter().rfind(|(offset, _)| *offset <= picture.offset_bytes).map(|(_, at)| *at)
    }
}

fn now() -> Result<WallTime> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(WallTime::from_unix_nanos(i128::try_from(since.as_nanos())?))
}
