//! Opening what a recorder keeps: its settings, its event log, its store, and what it knows of other nodes.

use std::sync::Arc;

use keepwatch_store::{EventLog, Recovery, Store, StoreConfig};

use super::{NodeError, edit};
use crate::bookkeeper::Bookkeeper;
use crate::camera::Registry;
use crate::clock::Clock;
use crate::config::{DiskConfig, RecorderConfig};
use crate::events::Events;
use crate::peers::Peers;
use crate::settings::Book;

/// What was opened.
pub(super) type OpenedStore = (Store, Recovery, Arc<Events>, Arc<Bookkeeper>, Book, Peers);

/// Opens all of it for the cameras of `cameras`. Blocks.
pub(super) fn open(
    config: &RecorderConfig,
    clock: Clock,
    cameras: Arc<Registry>,
) -> Result<OpenedStore, NodeError> {
    std::fs::create_dir_all(&config.data)
        .map_err(|source| NodeError::Data { path: config.data.clone(), source })?;
    let book = Book::open(config.data.clone());
    // Before the store is opened, so that a node that will not run leaves everything as it was.
    edit::check(config, &book.edited())?;
    let events = Arc::new(Events::new(EventLog::open(&config.data)?));
    let bookkeeper = Arc::new(Bookkeeper::new(clock, cameras, Arc::clone(&events)));
    let disks = config.disks.iter().map(DiskConfig::for_store).collect();
    let store_config =
        StoreConfig { buffer_bytes_max: config.buffer_bytes_max, ..StoreConfig::new(&config.data, disks) };
    let (store, recovery) = Store::open(store_config, Arc::clone(&bookkeeper) as _)?;
    let peers = Peers::open(&config.data, store.role());
    Ok((store, recovery, events, bookkeeper, book, peers))
}
