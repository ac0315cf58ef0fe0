//! Disks that are shown and never written: what another recorder wrote, or a disk of an earlier life.
//!
//! Footage on them is found under ids of its own, so that a camera which this recorder has under the same id is not mixed up
//! with it. They are looked through when they are taken into use, and again from time to time: who writes one does not tell.

use std::collections::BTreeMap;

use keepwatch_model::{CameraId, StreamId};

use crate::DiskId;
use crate::disk::Mounted;
use crate::index::IndexChange;
use crate::{Shown, Store};

/// Why a disk that is only shown is not written, for an operator.
pub(crate) const ONLY_SHOWN: &str = "only shown, because it was configured so";
/// Bytes of a camera's own id that are kept before the mark of its disk.
const OWN_BYTES_MAX: usize = 24;
/// The same before the mark of a camera whose id is longer, which comes between.
const LONG_BYTES_MAX: usize = 17;

/// The id here of camera `camera` of the read-only disk `disk`: always the same, and no other camera's.
pub(crate) fn local_id(disk: DiskId, camera: CameraId) -> CameraId {
    let mark: String = disk.to_string().chars().filter(|digit| *digit != '-').take(6).collect();
    let own = camera.as_str();
    let local = if own.len() <= OWN_BYTES_MAX {
        format!("{own}-{mark}")
    } else {
        let number = crc32c::crc32c(own.as_bytes()) & 0x00ff_ffff;
        format!("{}-{number:06x}-{mark}", own.get(..LONG_BYTES_MAX).unwrap_or(own))
    };
    // At most 31 bytes of what an id may have, and it begins as one does.
    local.parse().unwrap_or(camera)
}

/// What the index is to learn of a read-only disk: under the ids here.
pub(crate) fn renamed(disk: DiskId, change: IndexChange) -> IndexChange {
    match change {
        IndexChange::Freed { .. } => change,
        IndexChange::Extent { disk: of, mut row, mut rows } => {
            row.camera = local_id(disk, row.camera);
            rows.iter_mut().for_each(|row| row.camera = local_id(disk, row.camera));
            IndexChange::Extent { disk: of, row, rows }
        }
        IndexChange::Whole { disk: of, mut row, mut rows } => {
            row.camera = local_id(disk, row.camera);
            rows.iter_mut().for_each(|row| row.camera = local_id(disk, row.camera));
            IndexChange::Whole { disk: of, row, rows }
        }
    }
}

impl Store {
    /// Cameras of which read-only disks hold footage, of those disks that are there.
    pub fn shown(&self) -> Vec<Shown> {
        let disks = self.shared().disks.iter().filter(|disk| disk.config.read_only);
        let mounted = disks.filter_map(|disk| Some((disk, disk.mounted()?)));
        mounted.flat_map(|(disk, mounted)| shown_on(disk.path(), &mounted)).collect()
    }
}

fn shown_on(path: std::path::PathBuf, mounted: &Mounted) -> Vec<Shown> {
    let (disk, owner) = (mounted.superblock.disk, mounted.superblock.owner);
    let mut cameras: BTreeMap<CameraId, bool> = BTreeMap::new();
    let Some(volume) = mounted.volume() else { return Vec::new() };
    for (_, _, (camera, stream)) in volume.in_use() {
        *cameras.entry(camera).or_default() |= stream == StreamId::SUB;
    }
    let revision = mounted.revision();
    let shown = |(camera, sub)| {
        let local = local_id(disk, camera);
        Shown { disk, path: path.clone(), owner, camera, local, sub, revision }
    };
    cameras.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_disk_is_no_other_cameras() {
        let disk = DiskId([0xab; 16]);
        let local = |camera: &str| local_id(disk, camera.parse().unwrap()).as_str().to_owned();
        assert_eq!(local("gate"), "gate-ababab");
        assert_eq!(local("a-camera-with-a-name-of-"), "a-camera-with-a-name-of--ababab");
        let long = [local("a-camera-with-a-name-of-31-byte"), local("a-camera-with-a-name-of-31-byts")];
        assert_ne!(long[0], long[1]);
        assert!(long.iter().all(|id| id.len() == 31 && id.ends_with("-ababab")), "{long:?}");
        assert_ne!(local_id(DiskId([1; 16]), "gate".parse().unwrap()).as_str(), local("gate"));
    }
}
