//! Whether an archive is what a node signed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_tls::NodePublicKey;
use sha2::{Digest as _, Sha256};

use super::unzip::{Entry, UnzipError, list};
use super::{FORMAT, MANIFEST, Manifest, PUBLIC_KEY, SIGNATURE, hexadecimal};

/// Largest manifest, signature or key that is read.
const SMALL_BYTES_MAX: u64 = 16 << 20;
/// Files that the manifest does not name.
const OWN: [&str; 3] = [MANIFEST, SIGNATURE, PUBLIC_KEY];
/// Bytes that are read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] UnzipError),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// What says what is in it is missing, or not understood.
    #[error(
        "{0} is missing in it, or is not understood; it is no export of Keepwatch, or of a later version"
    )]
    Unknown(&'static str),
}

/// What is wrong with an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The manifest was changed, or signed by another key.
    #[error("the signature does not verify: the manifest was changed, or the key is another one")]
    Signature,
    /// The key is not the one that was expected.
    #[error("it is signed by the key {found}, and {expected} was expected")]
    OtherKey {
        /// Of the key inside.
        found: Fingerprint,
        /// As told.
        expected: Fingerprint,
    },
    /// A file is not as it was.
    #[error("{0} was changed")]
    Changed(String),
    /// A file is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// A file is there that the manifest does not name.
    #[error("{0} was added")]
    Added(String),
}

/// What an archive says of itself, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it says of itself; to be believed when nothing is wrong.
    pub manifest: Manifest,
    /// The fingerprint of the key that it brings along.
    pub key: Fingerprint,
    /// What is wrong; nothing when it is as it was signed.
    pub faults: Vec<Fault>,
}

/// Verifies the archive at `path`, which must be signed by the key `expected` if one is told. `progress` hears of bytes
/// done and bytes in all. Blocks.
///
/// # Errors
/// When the archive cannot be read as one of this program.
pub fn verify(
    path: &Path,
    expected: Option<Fingerprint>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let mut input = BufReader::new(File::open(path)?);
    let entries = list(&mut input)?;
    let manifest_bytes = small(&mut input, &entries, MANIFEST)?;
    let signature = small(&mut input, &entries, SIGNATURE)?;
    let key = NodePublicKey::from_pem(&small(&mut input, &entries, PUBLIC_KEY)?)
        .ok_or(VerifyError::Unknown(PUBLIC_KEY))?;
    let manifest: Manifest =
        serde_json::from_slice(&manifest_bytes).map_err(|_| VerifyError::Unknown(MANIFEST))?;
    if manifest.format != FORMAT {
        return Err(VerifyError::Unknown(MANIFEST));
    }
    let mut faults = Vec::new();
    if !key.verifies(&manifest_bytes, &signature) {
        faults.push(Fault::Signature);
    }
    let found = key.fingerprint();
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        faults.push(Fault::OtherKey { found, expected });
    }
    compare(&mut input, &entries, &manifest, &mut faults, &mut progress)?;
    Ok(Verified { manifest, key: found, faults })
}

/// Compares the files with what the manifest names.
fn compare(
    input: &mut (impl Read + Seek),
    entries: &[Entry],
    manifest: &Manifest,
    faults: &mut Vec<Fault>,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), VerifyError> {
    let all = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.bytes));
    let mut done = 0;
    let named: BTreeMap<&str, _> = manifest.files.iter().map(|file| (file.name.as_str(), file)).collect();
    let mut found = BTreeSet::new();
    for entry in entries {
        let name = entry.name.as_str();
        if !found.insert(name) {
            // A reader that takes the other of the two would show something else.
            faults.push(Fault::Added(format!("a second {name}")));
            continue;
        }
        let sums = sums(input, entry, |bytes| {
            done += bytes;
            progress(done, all);
        })?;
        let as_said = match named.get(name) {
            Some(file) => (entry.bytes, sums.sha256.as_str()) == (file.bytes, file.sha256.as_str()),
            None if OWN.contains(&name) => true,
            None => {
                faults.push(Fault::Added(name.to_owned()));
                continue;
            }
        };
        // One that differs only here would be refused by other programs.
        if !as_said || sums.crc != entry.crc {
            faults.push(Fault::Changed(name.to_owned()));
        }
    }
    let missing = named.keys().filter(|name| !found.contains(**name));
    faults.extend(missing.map(|name| Fault::Missing((*name).to_owned())));
    Ok(())
}

/// The sums of a file.
struct Sums {
    sha256: String,
    crc: u32,
}

fn sums(
    input: &mut (impl Read + Seek),
    entry: &Entry,
    mut progress: impl FnMut(u64),
) -> Result<Sums, VerifyError> {
    input.seek(SeekFrom::Start(entry.offset_bytes))?;
    let mut rest = input.take(entry.bytes);
    let mut piece = vec![0; PIECE_BYTES];
    let (mut sum, mut crc) = (Sha256::new(), crc32fast::Hasher::new());
    loop {
        let read = rest.read(&mut piece)?;
        if read == 0 {
            return Ok(Sums { sha256: hexadecimal(&sum.finalize()), crc: crc.finalize() });
        }
        let piece = piece.get(..read).unwrap_or_default();
        sum.update(piece);
        crc.update(piece);
        progress(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

/// A small file of the archive.
fn small(
    input: &mut (impl Read + Seek),
    entries: &[Entry],
    name: &'static str,
) -> Result<Vec<u8>, VerifyError> {
    let entry = entries.iter().find(|entry| entry.name == name && entry.bytes <= SMALL_BYTES_MAX);
    let entry = entry.ok_or(VerifyError::Unknown(name))?;
    input.seek(SeekFrom::Start(entry.offset_bytes))?;
    let mut content = Vec::new();
    input.take(entry.bytes).read_to_end(&mut content)?;
    Ok(content)
}
