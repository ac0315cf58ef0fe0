//! `keepwatch check`: every mistake of a configuration file, and of the machine it is for, before a node runs with it.
//!
//! It looks and changes nothing: no directory is made, no disk is taken into use, no camera is asked.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use keepwatch_interfaces::Interfaces;
use keepwatch_recorder::config::TlsFiles;
use keepwatch_store::{DiskConfig, DiskState, Store, StoreError};
use keepwatch_web::WebConfig;
use rustix::fs::{Access, access, statvfs};

use crate::config::{self, ConfigFile, DiskTable, Loaded, NodeConfig, Report, TlsTable, show_bytes};
use crate::{Outcome, lines, output};

/// Checks the file at `path` and says all that is wrong.
pub(crate) fn check(path: &Path) -> Outcome {
    let Loaded { file, node, mut report } = match config::load(path) {
        Ok(loaded) => loaded,
        Err(error) => {
            output::complain(error);
            return Outcome::ConfigurationWrong;
        }
    };
    environment(&file, &node, &mut report);
    if !report.is_empty() {
        output::complain(report.show(path));
    }
    if report.failed() {
        return Outcome::ConfigurationWrong;
    }
    output::say(format_args!(
        "{}: can be used; {} cameras, {} disks",
        path.display(),
        file.cameras.len(),
        file.disks.len()
    ));
    Outcome::Done
}

/// Looks whether the data directory and the disks can be used by this user.
fn environment(file: &ConfigFile, node: &NodeConfig, report: &mut Report) {
    let data = file.node.data.get_ref();
    let usable = data_directory(data);
    let has_data = usable.is_ok();
    if let Err((what, remedy)) = usable {
        report.error(file.node.data.span(), what, remedy);
    }
    let socket = WebConfig { socket: Some(data.join(keepwatch_web::SOCKET_NAME)), ..WebConfig::default() };
    if let Err(error) = socket.check() {
        report.error(file.node.data.span(), error.to_string(), "name a directory nearer to the root");
    }
    let disks = node.recorder.disks.iter().chain(&node.edge.disks);
    for lun in disks.filter(|disk| keepwatch_store::is_lun(&disk.path)) {
        if let Some(why) = keepwatch_store::lun_fault(data, &lun.for_store()) {
            let table = file.all_disks().find(|disk| *disk.path.get_ref() == lun.path);
            let what = format!("the LUN {} cannot be used: {why}", lun.path.display());
            report.error(
                table.map_or(0..0, |disk| disk.path.span()),
                what,
                "see to the target, or use another disk",
            );
        }
    }
    for disk in file.all_disks() {
        let usable =
            if disk.read_only { shown_place(disk) } else { disk_place(disk.path.get_ref(), disk.size_bytes) };
        if let Err((what, remedy)) = usable {
            report.error(disk.path.span(), what, remedy);
        }
    }
    if has_data {
        registered_disks(file, node, report);
    }
    lines::check(&file.node.interfaces, &Interfaces::default(), report);
    if let (Some(table), Some(files)) = (&file.node.tls, &node.recorder.rtsp.tls) {
        certificate(table, files, report);
    }
}

/// Looks whether the certificate and the key can be read and belong together. That one is not there was told already.
fn certificate(table: &TlsTable, files: &TlsFiles, report: &mut Report) {
    if !files.certificate.exists() || !files.key.exists() {
        return;
    }
    if let Err(error) = keepwatch_tls::Identity::load(files) {
        let remedy =
            "name a certificate and its own key, both as PEM files that the user who runs the node can read";
        report.error(table.certificate.span(), format!("the certificate cannot be shown: {error}"), remedy);
    }
}

/// What is wrong, and what to do.
type Finding = (String, &'static str);

fn data_directory(path: &Path) -> Result<(), Finding> {
    let shown = path.display();
    if path.is_dir() {
        return writable(path, "the data directory");
    }
    if path.exists() {
        return Err((format!("the data directory {shown} is not a directory"), "name a directory"));
    }
    // The node makes it, so what counts is the nearest directory that is there.
    // A relative path ends in the empty one, which means the working directory.
    let above = path
        .ancestors()
        .skip(1)
        .map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let Some(parent) = above.into_iter().find(|above| above.exists()) else {
        return Err((format!("the data directory {shown} cannot be reached"), "check the path"));
    };
    if !parent.is_dir() {
        let what = format!("the data directory {shown} cannot be made: {} is a file", parent.display());
        return Err((what, "check the path"));
    }
    writable(parent, "the data directory is not there and its parent")
}

fn writable(path: &Path, role: &str) -> Result<(), Finding> {
    access(path, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let what = format!("{role} {} cannot be written: {}", path.display(), std::io::Error::from(error));
        (what, "give it to the user that runs the node, or run this as that user")
    })
}

/// A disk that is only shown must have something to show.
fn shown_place(disk: &DiskTable) -> Result<(), Finding> {
    let path = disk.path.get_ref();
    if keepwatch_store::is_lun(path) {
        return Ok(());
    }
    let container = if path.is_dir() { path.join("keepwatch.container") } else { path.clone() };
    fs::File::open(&container).map(|_| ()).map_err(|error| {
        let what = format!("the disk {} cannot be shown: {}: {error}", path.display(), container.display());
        (what, "mount it, and let the user that runs the node read it")
    })
}

fn disk_place(path: &Path, size_bytes: Option<u64>) -> Result<(), Finding> {
    // Whether a LUN can be used was asked of its target.
    if keepwatch_store::is_lun(path) {
        return Ok(());
    }
    let shown = path.display();
    let found = fs::metadata(path).map_err(|error| {
        (format!("the disk {shown} cannot be reached: {error}"), "mount it, or create the directory")
    })?;
    if found.file_type().is_block_device() {
        return access(path, Access::READ_OK | Access::WRITE_OK).map_err(|error| {
            let what = format!("the disk {shown} cannot be written: {}", std::io::Error::from(error));
            (what, "give the device to the user that runs the node, or run this as that user")
        });
    }
    if !found.is_dir() {
        return Err((
            format!("the disk {shown} is neither a directory nor a block device"),
            "name the directory that is to hold the footage",
        ));
    }
    writable(path, "the disk")?;
    // A directory that holds something may hold the container already, which takes no more space.
    let blank = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if let (Some(size), true, Ok(system)) = (size_bytes, blank, statvfs(path)) {
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        if size > free {
            let what =
                format!("the disk {shown} has {} free and is to hold {}", show_bytes(free), show_bytes(size));
            return Err((what, "make room or choose a smaller size"));
        }
    }
    Ok(())
}

/// Asks the store whose the disks are and, where it has run already, whether they are the ones it knows.
fn registered_disks(file: &ConfigFile, node: &NodeConfig, report: &mut Report) {
    let NodeConfig { recorder, .. } = node;
    let in_store = keepwatch_recorder::config::DiskConfig::for_store;
    let disks: Vec<DiskConfig> = recorder.disks.iter().map(in_store).collect();
    // What is written outside belongs to the same recorder.
    let all: Vec<_> = recorder.disks.iter().chain(&node.edge.disks).collect();
    let in_stores: Vec<DiskConfig> = all.iter().map(|disk| in_store(disk)).collect();
    let place = |path: &Path| -> Range<usize> {
        let table = file.all_disks().find(|disk| disk.path.get_ref() == path);
        table.map_or(0..0, |disk| disk.path.span())
    };
    match Store::foreign_disks(&recorder.data, &in_stores) {
        Ok(foreign) => {
            let foreign = foreign.iter().filter_map(|(at, owner)| Some((all.get(*at)?, owner)));
            for (disk, owner) in foreign.filter(|(disk, _)| !disk.take_over) {
                let shown = disk.path.display();
                report.error(
                    place(&disk.path),
                    format!("the disk {shown} holds footage of another recorder, {owner}"),
                    "mount the disk that belongs here, or set take_over = true if it may be overwritten",
                );
            }
        }
        Err(error) => report.error(
            file.node.data.span(),
            error.to_string(),
            "put it right; without its identity a recorder does not know its disks",
        ),
    }
    if !recorder.data.join("index.db").exists() || disks.is_empty() {
        return;
    }
    match Store::open_read_only(&recorder.data, &disks) {
        Ok(store) => {
            for disk in store.disks() {
                let shown = disk.path.display();
                match disk.state {
                    DiskState::Online | DiskState::Full => {}
                    DiskState::Gone { why, .. } => {
                        let remedy = "mount the disk that this node recorded on, or take the entry out";
                        report.warning(
                            place(&disk.path),
                            format!("the disk {shown} is not there: {why}"),
                            remedy,
                        );
                    }
                    DiskState::ReadOnly { .. } if disk.read_only => {}
                    DiskState::ReadOnly { why, .. } => report.error(
                        place(&disk.path),
                        format!("the disk {shown} cannot be written: {why}"),
                        "run the version that made it, or use another disk",
                    ),
                    // Whose a disk is was asked above.
                    DiskState::Foreign { .. } => {}
                }
            }
            store.close();
        }
        Err(error) => {
            let span = match &error {
                StoreError::ForeignDisk { path, .. }
                | StoreError::NoDisk { path, .. }
                | StoreError::NoRoom { path, .. }
                | StoreError::Geometry { path, .. }
                | StoreError::Format { path, .. }
                | StoreError::SameDisk { path, .. } => place(path),
                StoreError::InUse { .. }
                | StoreError::ProtectionsFull { .. }
                | StoreError::LaterIndex { .. }
                | StoreError::Io { .. }
                | StoreError::Index(_)
                | StoreError::ReadOnly => file.node.data.span(),
            };
            report.error(span, error.to_string(), "put it right, or use another disk");
        }
    }
}
