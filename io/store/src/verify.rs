//! Proving a store: every checksum, every chain, every row of the index both ways; and making the index anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use keepwatch_model::{CameraId, RoleId, Span};

use crate::disk::{Mounted, Unusable, mount_read_only};
use crate::format::{Entry, ExtentUse};
use crate::index::{INDEX_FILE, Index, Registered, known_identity, remove_database};
use crate::volume::{Depth, Found, Key, check_record, read_extent, recover, scan, trailer};
use crate::{DiskConfig, FormatError, RunRow, StoreError};

/// How to verify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Make the index anew from the extents alone. Protections, ledgers and the heartbeat, which are nowhere else,
    /// are taken over from the old one when it can be read.
    pub rebuild: bool,
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Extents looked at.
    pub extents_done: u64,
    /// Extents to look at.
    pub extents: u64,
    /// Bytes of samples checked.
    pub bytes_done: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Extents in use.
    pub extents: u64,
    /// Records read.
    pub records: u64,
    /// Samples whose checksum was checked.
    pub samples: u64,
    /// Bytes of samples.
    pub media_bytes: u64,
    /// Rows of the index that were compared.
    pub rows: u64,
    /// What is wrong; empty means that all is well.
    pub faults: Vec<VerifyFault>,
    /// The index was made anew.
    pub rebuilt: bool,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyFault {
    /// The disk.
    pub disk: PathBuf,
    /// Whose footage, when known.
    pub camera: Option<CameraId>,
    /// Which labels, when known.
    pub span: Option<Span>,
    /// What does not match, in a sentence.
    pub text: String,
}

/// Reads every record of every extent, checks every checksum and compares with the index both ways.
///
/// Changes nothing unless asked to rebuild, and then only the index, which is replaced at once when it is complete.
/// While a recorder runs, what it writes meanwhile is left out; a rebuild is then refused.
pub fn verify(
    data: &Path,
    disks: &[DiskConfig],
    options: VerifyOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<VerifyReport, StoreError> {
    let lock = crate::store::lock_data(data);
    let in_use = matches!(lock, Err(StoreError::InUse { .. }));
    let path = data.join(INDEX_FILE);
    let mut report = VerifyReport::default();
    let mounted = mount_all(disks, known_identity(data)?, &mut report);
    if options.rebuild {
        let _lock = lock?;
        rebuild(data, &path, disks, &mounted)?;
        report.rebuilt = true;
    }
    let index = Index::open_read_only(&path)?;
    let extents = mounted.iter().map(|(_, mounted)| u64::from(mounted.superblock.extent_count)).sum();
    let mut at = Progress { extents, ..Progress::default() };
    for (config, mounted) in &mounted {
        let disk = Disk { config, mounted, index: &index, in_use };
        disk.verify(&mut report, &mut at, progress)?;
    }
    Ok(report)
}

fn mount_all<'a>(
    disks: &'a [DiskConfig],
    role: Option<RoleId>,
    report: &mut VerifyReport,
) -> Vec<(&'a DiskConfig, Mounted)> {
    let mut all = Vec::new();
    // What is only shown is for its owner to verify.
    for config in disks.iter().filter(|config| !config.read_only) {
        match mount_read_only(config, role) {
            Ok(mounted) => all.push((config, mounted)),
            Err(unusable) => {
                let text = match unusable {
                    Unusable::Gone(why) | Unusable::StillReadOnly(why) => why,
                    Unusable::Foreign(owner) => format!("belongs to recorder {owner}"),
                    Unusable::Refused(error) => error.to_string(),
                };
                report.faults.push(VerifyFault { disk: config.path.clone(), camera: None, span: None, text });
            }
        }
    }
    all
}

/// Makes the index anew beside the old one and puts it in its place.
fn rebuild(
    data: &Path,
    path: &Path,
    disks: &[DiskConfig],
    mounted: &[(&DiskConfig, Mounted)],
) -> Result<(), StoreError> {
    let fresh_path = data.join("index.db.rebuild");
    remove_database(&fresh_path);
    let fresh = Index::open(&fresh_path)?;
    if path.exists()
        && let Err(error) = fresh.carry_over(path)
    {
        tracing::warn!(%error, "the old index cannot be read: its protections and ledgers are not taken over");
    }
    // Disks that are not there now stay registered: they must not be taken for blank ones when they return.
    if let Ok(old) = Index::open_read_only(path).and_then(|old| old.registered()) {
        for known in old.into_iter().filter(|known| !disks.iter().any(|disk| disk.path == known.path)) {
            fresh.register(&known)?;
        }
    }
    for (config, mounted) in mounted {
        let superblock = mounted.superblock;
        fresh.register(&Registered {
            disk: superblock.disk,
            path: config.path.clone(),
            file_system: mounted.file_system(),
        })?;
        let (_, Found { changes, .. }) = recover(mounted.device.as_ref(), superblock, &BTreeMap::new())
            .map_err(StoreError::io(&config.path))?;
        fresh.learn(changes);
        fresh.flush()?;
    }
    fresh.settle()?;
    fresh.close();
    remove_database(path);
    fs::rename(&fresh_path, path).map_err(StoreError::io(path))?;
    remove_database(&fresh_path);
    fs::File::open(data).and_then(|data| data.sync_all()).map_err(StoreError::io(data))
}

struct Disk<'a> {
    config: &'a DiskConfig,
    mounted: &'a Mounted,
    index: &'a Index,
    in_use: bool,
}

impl Disk<'_> {
    fn verify(
        &self,
        report: &mut VerifyReport,
        at: &mut Progress,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), StoreError> {
        let mut rows: BTreeMap<u32, Vec<RunRow>> = BTreeMap::new();
        for row in self.index.runs_of_disk(self.mounted.superblock.disk)? {
            rows.entry(row.extent).or_default().push(row);
        }
        for extent in 0..self.mounted.superblock.extent_count {
            let rows = rows.remove(&extent).unwrap_or_default();
            let result = self.verify_extent(extent, &rows, report);
            result.map_err(StoreError::io(&self.config.path))?;
            at.extents_done += 1;
            at.bytes_done = report.media_bytes;
            progress(*at);
        }
        for row in rows.into_values().flatten() {
            self.fault(report, Some((row.camera, row.label)), "the index names an extent that is not there");
        }
        Ok(())
    }

    fn verify_extent(&self, extent: u32, rows: &[RunRow], report: &mut VerifyReport) -> std::io::Result<()> {
        let (device, superblock) = (self.mounted.device.as_ref(), &self.mounted.superblock);
        let header = match read_extent(device, superblock, extent) {
            Ok(header) => header.filter(|(header, _)| header.usage == ExtentUse::Used),
            Err(error) => {
                self.fault(report, None, &format!("extent {extent}: {error}"));
                return Ok(());
            }
        };
        let Some((header, crc)) = header else {
            if let Some(row) = rows.first()
                && !self.in_use
            {
                self.fault(
                    report,
                    Some((row.camera, row.label)),
                    "the index names footage that is not there",
                );
            }
            return Ok(());
        };
        report.extents += 1;
        let key = (header.camera, header.stream);
        let known = rows.iter().filter(|row| row.sequence == header.sequence);
        let known = known.map(|row| row.last_record.saturating_add(1)).max().unwrap_or(0);
        let entries = match trailer(device, superblock, extent, header.sequence)? {
            Some(entries) => entries,
            None => {
                let scan = scan(device, superblock, extent, (&header, crc), Depth::Tail { records: known })?;
                scan.entries
            }
        };
        let before = report.faults.len();
        let sound = self.verify_entries(extent, &entries, key, crc, report);
        self.compare(&entries, &sound, rows, header.sequence, key, report);
        if report.faults.len() > before && self.in_use {
            // The recorder may have taken the extent for something else in the meantime.
            let again = read_extent(device, superblock, extent)?;
            if again.is_none_or(|(again, _)| again.sequence != header.sequence) {
                report.faults.truncate(before);
            }
        }
        Ok(())
    }

    /// Checks every record; returns the numbers of those that are sound.
    fn verify_entries(
        &self,
        extent: u32,
        entries: &[Entry],
        key: Key,
        header_crc: u32,
        report: &mut VerifyReport,
    ) -> BTreeSet<u32> {
        let (device, superblock) = (self.mounted.device.as_ref(), &self.mounted.superblock);
        let base = superblock.extent_offset(extent);
        let mut sound = BTreeSet::new();
        let mut chain = header_crc;
        for entry in entries {
            report.records += 1;
            let checked = match check_record(device, base, entry, key) {
                Ok(Ok((samples, media_bytes, chained_to))) if chained_to == chain => {
                    report.samples += samples;
                    report.media_bytes += media_bytes;
                    sound.insert(entry.number);
                    Ok(())
                }
                Ok(Ok(_)) => Err(FormatError::Chain.to_string()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            chain = entry.header_crc;
            if let Err(error) = checked {
                let text = format!("extent {extent} record {}: {error}", entry.number);
                self.fault(report, Some((key.0, entry.info.label)), &text);
            }
        }
        sound
    }

    /// Compares the records of an extent with its rows, both ways.
    fn compare(
        &self,
        entries: &[Entry],
        sound: &BTreeSet<u32>,
        rows: &[RunRow],
        sequence: u64,
        key: Key,
        report: &mut VerifyReport,
    ) {
        let mut indexed = BTreeSet::new();
        for row in rows {
            report.rows += 1;
            let about = Some((row.camera, row.label));
            if row.sequence != sequence || (row.camera, row.stream) != key {
                if !self.in_use {
                    self.fault(report, about, "the index names footage that was overwritten");
                }
                continue;
            }
            let covered: Vec<&Entry> = entries
                .iter()
                .filter(|entry| (row.first_record..=row.last_record).contains(&entry.number))
                .collect();
            indexed.extend(covered.iter().map(|entry| entry.number));
            let count = u64::from(row.last_record.saturating_sub(row.first_record)) + 1;
            let all = |number: fn(&Entry) -> u64| covered.iter().map(|entry| number(entry)).sum::<u64>();
            let same = covered.len() as u64 == count
                && covered.first().is_some_and(|first| first.info.label.from == row.label.from)
                && covered.last().is_some_and(|last| last.info.label.to == row.label.to)
                && covered.iter().all(|entry| entry.info.run == row.run)
                && all(|entry| u64::from(entry.info.samples)) == row.samples
                && all(|entry| u64::from(entry.info.media_bytes)) == row.media_bytes;
            if !same {
                self.fault(report, about, "the index does not say what the disk holds");
            }
        }
        for entry in entries.iter().filter(|entry| sound.contains(&entry.number)) {
            // A running recorder's index follows within a second.
            if !indexed.contains(&entry.number) && !self.in_use {
                self.fault(report, Some((key.0, entry.info.label)), "footage that the index does not name");
            }
        }
    }

    fn fault(&self, report: &mut VerifyReport, about: Option<(CameraId, Span)>, text: &str) {
        report.faults.push(VerifyFault {
            disk: self.config.path.clone(),
            camera: about.map(|(camera, _)| camera),
            span: about.map(|(_, span)| span),
            text: text.to_owned(),
        });
    }
}
