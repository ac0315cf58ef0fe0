//! Makes the table of the console's files from `dist/`, which is committed: building the program needs no Node.js.
//!
//! `cargo xtask test` builds `dist/` anew from the sources and refuses one that differs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=dist");
    println!("cargo:rerun-if-changed=build.rs");
    let folder = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("dist");
    let mut files = Vec::new();
    walk(&folder, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in &files {
        let relative = file.strip_prefix(&folder).map_err(io::Error::other)?;
        let relative =
            relative.to_str().ok_or_else(|| io::Error::other("a file name is not UTF-8"))?.replace('\\', "/");
        let bytes = fs::read(file)?;
        // The page is found at the root only; everything else has its hash in its name and can be kept for ever.
        let path = if relative == "index.html" { "/".to_owned() } else { format!("/{relative}") };
        let immutable = relative.starts_with("assets/");
        writeln!(
            table,
            "    Asset {{ path: {path:?}, bytes: include_bytes!({file:?}), media_type: {:?}, etag: {:?}, \
             immutable: {immutable} }},",
            media_type(&relative)?,
            format!("\"{:016x}\"", hash(&bytes)),
        )
        .map_err(io::Error::other)?;
    }
    table.push(']');
    fs::write(PathBuf::from(variable("OUT_DIR")?).join("assets.rs"), table)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|_| io::Error::other(format!("cargo did not set {name}")))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// An unknown kind of file is an error of the build: browsers are told not to guess.
fn media_type(name: &str) -> io::Result<&'static str> {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => Ok("text/html; charset=utf-8"),
        "js" => Ok("text/javascript; charset=utf-8"),
        "css" => Ok("text/css; charset=utf-8"),
        "svg" => Ok("image/svg+xml"),
        "txt" => Ok("text/plain; charset=utf-8"),
        other => Err(io::Error::other(format!("{name}: no media type is known for {other:?}"))),
    }
}

/// FNV-1a of 64 bits: tells one build from another, and defends against nobody.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
