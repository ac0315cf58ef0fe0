//! Exports that prove themselves: what is in the archive of an export job, who signed it, and whether it is unchanged.
//!
//! The manifest names every file with its SHA-256 and is signed with the key of the node, so one signature covers all of
//! it. What is needed to verify is in the archive, but for trust in the key: that is compared with the one that the node
//! shows. Nothing of our own is needed for it; the archive's `README.txt` says how.

mod unzip;
mod verify;
mod zip;

use keepwatch_model::{CameraId, WallTime};
use serde::{Deserialize, Serialize};

pub use self::unzip::{UnzipError, list_untrusted};
pub use self::verify::{Fault, Verified, VerifyError, verify};
pub(crate) use self::zip::ZipWriter;

/// What the manifest says it is; another version of it has another number.
pub const FORMAT: &str = "keepwatch-export/1";
/// The manifest.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Its signature: 64 bytes of Ed25519.
pub(crate) const SIGNATURE: &str = "manifest.sig";
/// The key that it verifies with.
pub(crate) const PUBLIC_KEY: &str = "node.pub";
/// What is missing, and why.
pub(crate) const COVERAGE: &str = "coverage.json";
/// How to verify.
pub(crate) const README: &str = "README.txt";

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The name of the node that made it.
    pub node: String,
    /// The identity of its recorder.
    pub recorder: String,
    /// The version of the program.
    pub version: String,
    /// When it was asked for.
    pub created: WallTime,
    /// Who asked for it.
    pub by: String,
    /// First label.
    pub from: WallTime,
    /// First label behind it.
    pub to: WallTime,
    /// `main` or `sub`.
    pub stream: String,
    /// Whether sound was asked for.
    pub audio: bool,
    /// The cameras.
    pub cameras: Vec<NamedCamera>,
    /// The end of the node's audit log when it was asked for, which holds the entry about it; `null` when it keeps none.
    pub audit_head: Option<String>,
    /// Every other file but the signature and the key.
    pub files: Vec<ManifestFile>,
}

/// A camera of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCamera {
    /// Its id.
    pub id: CameraId,
    /// Its name.
    pub name: String,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// Bytes in hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text that tells how to verify an archive without this program. `fingerprint` is that of the key.
pub(crate) fn readme(node: &str, fingerprint: &str, files: &[ManifestFile]) -> String {
    let mut sums = String::new();
    for file in files {
        sums.push_str(&format!("  {}  {}\n", file.sha256, file.name));
    }
    format!(
        "Footage of {node}, exported by Keepwatch\n\
         \n\
         The MP4 files play in any player. coverage.json says what is missing in the time that was asked for, and why.\n\
         manifest.json names every file with its SHA-256; manifest.sig is its signature with the key of the recorder.\n\
         \n\
         Is it unchanged? With Keepwatch:\n\
         \n\
         \x20 keepwatch export verify FILE.zip\n\
         \n\
         Without, where the files were unpacked (OpenSSL 3):\n\
         \n\
         \x20 openssl pkeyutl -verify -pubin -inkey node.pub -rawin -in manifest.json -sigfile manifest.sig\n\
         \x20 sha256sum *\n\
         \n\
         The first must say that the signature is verified. The sums must be those of manifest.json, and it must name all\n\
         files but itself, manifest.sig, and node.pub. Those of the footage are:\n\
         \n\
         {sums}\n\
         Is the key that of the recorder? Its fingerprint is\n\
         \n\
         \x20 {fingerprint}\n\
         \n\
         openssl pkey -pubin -in node.pub -outform DER | sha256sum shows it, and so does the recorder: keepwatch status.\n\
         Compare the two; whoever changes the footage can also sign it anew, but not with this key.\n"
    )
}

#[cfg(test)]
mod tests;
