//! The ids that cameras of primaries have at the standby: given once, and kept for ever, because footage is kept under them.

use std::collections::{BTreeMap, BTreeSet};

use keepwatch_model::{CameraId, RoleId};
use rusqlite::params;

use super::{BookError, StandbyBook};

impl StandbyBook {
    /// The ids here of `cameras` of a role. A camera that has none is given what `give` makes of its id and of those that are
    /// used: by cameras of all roles, and by `taken`.
    ///
    /// # Errors
    /// When they cannot be read or written.
    pub fn local_ids(
        &self,
        role: RoleId,
        cameras: &[CameraId],
        taken: &BTreeSet<CameraId>,
        give: impl Fn(CameraId, &BTreeSet<CameraId>) -> CameraId,
    ) -> Result<BTreeMap<CameraId, CameraId>, BookError> {
        self.run(|connection| {
            let transaction = connection.transaction()?;
            let mut known: BTreeMap<CameraId, CameraId> = BTreeMap::new();
            let mut used = taken.clone();
            {
                let mut query = transaction.prepare("SELECT role, camera, local FROM locals")?;
                let mut rows = query.query([])?;
                while let Some(row) = rows.next()? {
                    let (of, camera, local): ([u8; 16], String, String) =
                        (row.get(0)?, row.get(1)?, row.get(2)?);
                    let (Ok(camera), Ok(local)) = (camera.parse(), local.parse()) else { continue };
                    used.insert(local);
                    if RoleId(of) == role {
                        known.insert(camera, local);
                    }
                }
            }
            for camera in cameras {
                if known.contains_key(camera) {
                    continue;
                }
                let local = give(*camera, &used);
                transaction.execute(
                    "INSERT INTO locals VALUES (?1, ?2, ?3)",
                    params![role.0, camera.as_str(), local.as_str()],
                )?;
                used.insert(local);
                known.insert(*camera, local);
            }
            transaction.commit()?;
            known.retain(|camera, _| cameras.contains(camera));
            Ok(known)
        })
    }
}
