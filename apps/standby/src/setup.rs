//! The setup: from the configuration file, and edited by operators. The last change wins, wherever it was made: what was edited
//! holds until the file says something else than it did at that time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepwatch_recording::failover::Setup;
use keepwatch_settings::standby::{BookError, StandbyBook};
use serde::{Deserialize, Serialize};

/// A setup as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    check_interval_ms: u64,
    setup_backup_interval_s: u64,
    auto_failover_threshold: u32,
}

/// What was edited, and what the file said at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Edit {
    setup: Kept,
    file: Kept,
}

/// Keeps the setup that is edited; a cheap handle. Its methods block.
#[derive(Clone, Debug)]
pub(crate) struct SetupBook {
    book: StandbyBook,
    /// What the file says.
    file: Arc<Mutex<Setup>>,
}

/// What is in force after a start.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) setups: SetupBook,
    pub(crate) setup: Setup,
    /// It was edited, rather than read from the file.
    pub(crate) edited: bool,
    /// Why what was edited is not in force, where that cannot be read.
    pub(crate) problem: Option<String>,
}

impl SetupBook {
    /// Opens it, where the file says `file`. What was edited and cannot be read is told, and the file's is in force.
    pub(crate) fn open(book: StandbyBook, file: Setup) -> Opened {
        let setups = Self { book, file: Arc::new(Mutex::new(file)) };
        let unread = |problem| Opened { setups: setups.clone(), setup: file, edited: false, problem };
        let kept = match setups.book.setup() {
            Ok(Some(kept)) => kept,
            Ok(None) => return unread(None),
            Err(error) => return unread(Some(format!("the setup that was edited cannot be read: {error}"))),
        };
        let Ok(edit) = serde_json::from_str::<Edit>(&kept) else {
            return unread(Some("the setup that was edited is none of this version".to_owned()));
        };
        match edit.setup.setup().filter(|_| edit.file == file.into()) {
            Some(setup) => Opened { setup, edited: true, ..unread(None) },
            None => {
                // What the file said since was said later. It holds whether the disk takes that or not.
                if let Err(error) = setups.book.put_setup(None) {
                    tracing::warn!(%error, "a setup that was edited before the file is not forgotten");
                }
                unread(None)
            }
        }
    }

    /// Keeps what was edited.
    pub(crate) fn edit(&self, setup: Setup) -> Result<(), BookError> {
        let file = *self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let edit = Edit { setup: setup.into(), file: file.into() };
        let text = serde_json::to_string(&edit).expect("numbers have a JSON form");
        self.book.put_setup(Some(&text))
    }

    /// The file was read again and says `file`; what is in force from here on, if that is another setup.
    pub(crate) fn file_says(&self, file: Setup) -> Result<Option<Setup>, BookError> {
        let mut before = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == file {
            return Ok(None);
        }
        self.book.put_setup(None)?;
        *before = file;
        Ok(Some(file))
    }
}

impl From<Setup> for Kept {
    fn from(setup: Setup) -> Self {
        Self {
            check_interval_ms: u64::try_from(setup.check_interval().as_millis()).unwrap_or(u64::MAX),
            setup_backup_interval_s: setup.setup_backup_interval().as_secs(),
            auto_failover_threshold: setup.auto_failover_threshold(),
        }
    }
}

impl Kept {
    /// The setup, unless it is out of range.
    fn setup(self) -> Option<Setup> {
        let (check, backup) = (
            Duration::from_millis(self.check_interval_ms),
            Duration::from_secs(self.setup_backup_interval_s),
        );
        Setup::new(check, backup, self.auto_failover_threshold).ok()
    }
}

#[cfg(test)]
mod tests {
    use keepwatch_settings::Key;

    use super::*;

    #[test]
    fn the_last_change_wins_wherever_it_was_made() {
        let data = tempfile::tempdir().unwrap();
        let open = |file: Setup| {
            let opened = SetupBook::open(StandbyBook::open(data.path(), Key::new([1; 32])).unwrap(), file);
            assert_eq!(opened.problem, None);
            (opened.setups, opened.setup, opened.edited)
        };
        let setup = |millis| Setup::new(Duration::from_millis(millis), Duration::from_secs(60), 2).unwrap();
        let (book, force, edited) = open(setup(1_000));
        assert_eq!((force, edited), (setup(1_000), false));
        book.edit(setup(500)).unwrap();
        // A restart, and a reload of a file that did not change, leave it.
        assert_eq!(book.file_says(setup(1_000)).unwrap(), None);
        let (book, force, edited) = open(setup(1_000));
        assert_eq!((force, edited), (setup(500), true));
        // A file that changed was changed later.
        assert_eq!(book.file_says(setup(2_000)).unwrap(), Some(setup(2_000)));
        let (book, force, edited) = open(setup(2_000));
        assert_eq!((force, edited), (setup(2_000), false));
        book.edit(setup(500)).unwrap();
        let (_, force, edited) = open(setup(3_000));
        assert_eq!((force, edited), (setup(3_000), false), "while the node was down");
    }

    #[test]
    fn a_setup_that_cannot_be_read_is_told_and_that_of_the_file_holds() {
        let data = tempfile::tempdir().unwrap();
        let book = StandbyBook::open(data.path(), Key::new([1; 32])).unwrap();
        let file = Setup::default();
        book.put_setup(Some("{")).unwrap();
        let opened = SetupBook::open(book.clone(), file);
        assert_eq!((opened.setup, opened.edited), (file, false));
        assert!(opened.problem.is_some());
        assert_eq!(book.setup().unwrap().as_deref(), Some("{"), "it is there for whoever looks into it");
        opened.setups.edit(file).unwrap();
        let opened = SetupBook::open(book, file);
        assert_eq!((opened.edited, opened.problem), (true, None), "and goes with the next change");
    }
}
