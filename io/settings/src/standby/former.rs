//! Recorders that were replaced and do not know it yet: whoever returns is told so, by the key that it had.

use std::net::SocketAddr;

use keepwatch_model::RoleId;
use rusqlite::params;

use super::{BookError, StandbyBook};

/// Most of them that are kept, the newest: what has not returned by then is not expected.
pub const FORMER_MAX: u64 = 64;

/// A recorder that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerRow {
    /// The role that it played.
    pub role: RoleId,
    /// Its public key: 64 hexadecimal digits.
    pub key: String,
    /// Where it was.
    pub address: SocketAddr,
    /// The epoch in which another plays its role.
    pub epoch: u64,
    /// The name of that one.
    pub successor: String,
}

/// Made beside the tables of the first version.
pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS superseded (
    number INTEGER PRIMARY KEY, role BLOB NOT NULL, key TEXT NOT NULL UNIQUE, address TEXT NOT NULL,
    epoch INTEGER NOT NULL, successor TEXT NOT NULL)";

impl StandbyBook {
    /// Keeps a recorder that was replaced.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_former(&self, row: &FormerRow) -> Result<(), BookError> {
        self.run(|connection| {
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT OR REPLACE INTO superseded (role, key, address, epoch, successor) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![row.role.0, row.key, row.address.to_string(), row.epoch.cast_signed(), row.successor],
            )?;
            transaction.execute(
                "DELETE FROM superseded WHERE number <= (SELECT max(number) FROM superseded) - ?1",
                [FORMER_MAX.cast_signed()],
            )?;
            transaction.commit()
        })
    }

    /// All recorders that were replaced and were not told yet.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn former(&self) -> Result<Vec<FormerRow>, BookError> {
        self.run(|connection| {
            let mut query = connection
                .prepare("SELECT role, key, address, epoch, successor FROM superseded ORDER BY number")?;
            let rows = query.query_map([], |row| {
                let address: String = row.get(2)?;
                // One without an address cannot be told anything.
                let Ok(address) = address.parse() else { return Ok(None) };
                let epoch: i64 = row.get(3)?;
                Ok(Some(FormerRow {
                    role: RoleId(row.get(0)?),
                    key: row.get(1)?,
                    address,
                    epoch: epoch.cast_unsigned(),
                    successor: row.get(4)?,
                }))
            })?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// Forgets the recorder of this key: it knows, or plays a role again.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn forget_former(&self, key: &str) -> Result<(), BookError> {
        self.run(|connection| connection.execute("DELETE FROM superseded WHERE key = ?1", [key]))?;
        Ok(())
    }
}
