//! What is known of the views before they are opened: in a small file of its own beside them, so that
//! views which would mislead the engine are never touched.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TableError;
use crate::domain::time::Timestamp;

/// Raised whenever the rows change their shape or meaning.
pub const SCHEMA: u32 = 12;

const ENGINE: &str = "lmdb";

/// Milliseconds within which a second unclean end makes the views suspect.
const CLOSE: i64 = 60_000;

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    engine: String,
    schema: u32,
    /// The folder that is in use, below that of the views.
    pub folder: u64,
    /// This run of the machine.
    boot: String,
    /// Closed in good order.
    clean: bool,
    /// When unclean ends were found.
    unclean: Vec<Timestamp>,
    /// Their rows are being looked at: a damaged page may end the process.
    looking: bool,
    /// Bytes of the file when they were last opened or closed: it never shrinks, and what is missing
    /// of it would end the process at the first look.
    size: u64,
}

/// The file, and where the views lie.
#[derive(Debug, Clone)]
pub struct Place {
    home: PathBuf,
    meta: Meta,
}

impl Place {
    /// Reads the file in the views' folder and notes that they are open. The second value says why
    /// what lies there is not to be opened, if so: then the place is an empty one.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn open(
        home: &Path,
        boot: &str,
        now: Timestamp,
    ) -> Result<(Self, Option<&'static str>), TableError> {
        // whoever put it there, it is no folder of views
        if std::fs::symlink_metadata(home).is_ok() && !home.is_dir() {
            std::fs::remove_file(home).map_err(failed)?;
        }
        std::fs::create_dir_all(home).map_err(failed)?;
        let known: Option<Meta> = std::fs::read(home.join("meta.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let is_new = known.is_none() && std::fs::read_dir(home).map_err(failed)?.next().is_none();
        let known = known.unwrap_or_default();
        let mut unclean = known.unclean.clone();
        unclean.retain(|at| (0..CLOSE).contains(&now.since(*at)));
        if !known.clean && !is_new {
            unclean.push(now);
        }
        let why = if is_new {
            None
        } else if known.engine != ENGINE || known.schema != SCHEMA {
            Some("they are of another version")
        } else if !known.clean && known.boot != boot {
            Some("the machine went down while they were open")
        } else if size_of(home, known.folder) < known.size {
            Some("a part of their file is missing")
        } else if known.looking {
            Some("the process ended while it looked whether they are whole")
        } else if unclean.len() >= 2 {
            Some("the process ended uncleanly twice within a minute")
        } else {
            None
        };
        // above every folder that is there, whatever the file says
        let folder = match why {
            Some(_) => 1 + known.folder.max(highest(home)),
            None => known.folder,
        };
        let (engine, schema, boot) = (ENGINE.to_owned(), SCHEMA, boot.to_owned());
        if why.is_some() {
            unclean.clear();
        }
        let size = size_of(home, folder);
        let meta = Meta {
            engine,
            schema,
            folder,
            boot,
            clean: false,
            unclean,
            looking: why.is_none() && !is_new,
            size,
        };
        let place = Self { home: home.to_owned(), meta };
        if why.is_some() {
            place.remove_others();
        }
        place.write()?;
        Ok((place, why))
    }

    /// Where the views lie.
    pub fn folder(&self) -> PathBuf {
        self.home.join(self.meta.folder.to_string())
    }

    /// How often another place took over.
    pub fn generation(&self) -> u64 {
        self.meta.folder
    }

    /// All rows were looked at.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub fn looked(&mut self) -> Result<(), TableError> {
        if !std::mem::take(&mut self.meta.looking) {
            return Ok(());
        }
        self.write()
    }

    /// Another, empty place takes over.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub fn next(&mut self) -> Result<PathBuf, TableError> {
        self.meta.folder += 1;
        self.meta.size = 0;
        self.meta.looking = false;
        self.write()?;
        Ok(self.folder())
    }

    /// The views were closed in good order.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub fn close(&mut self) -> Result<(), TableError> {
        self.meta.clean = true;
        self.meta.looking = false;
        self.meta.size = size_of(&self.home, self.meta.folder);
        self.meta.unclean.clear();
        self.write()
    }

    /// What an earlier engine or an earlier beginning left. A cache is not worth keeping.
    pub fn remove_others(&self) {
        let Ok(entries) = std::fs::read_dir(&self.home) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path == self.folder() {
                continue;
            }
            let _ = match path.is_dir() {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
        }
    }

    fn write(&self) -> Result<(), TableError> {
        let (file, new) = (self.home.join("meta.json"), self.home.join("meta.new"));
        let bytes = serde_json::to_vec(&self.meta).map_err(|e| TableError::new(e.to_string()))?;
        let mut written = File::create(&new).map_err(failed)?;
        written.write_all(&bytes).and_then(|()| written.sync_data()).map_err(failed)?;
        std::fs::rename(&new, &file).map_err(failed)?;
        // or an older one might come back after a power cut, over views that were open
        File::open(&self.home).and_then(|home| home.sync_all()).map_err(failed)
    }
}

/// Bytes of the file in a folder of views; 0 where there is none.
fn size_of(home: &Path, folder: u64) -> u64 {
    let file = home.join(folder.to_string()).join("data.mdb");
    std::fs::metadata(file).map_or(0, |file| file.len())
}

/// The highest number of a folder that is there.
fn highest(home: &Path) -> u64 {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    numbers.max().unwrap_or(0)
}

fn failed(error: std::io::Error) -> TableError {
    TableError::new(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_views_that_cannot_mislead_are_opened() {
        let home = tempfile::tempdir().unwrap();
        let open = |boot: &str, at: i64| Place::open(home.path(), boot, Timestamp(at)).unwrap();
        let (mut place, why) = open("a", 0);
        assert_eq!(why, None);
        place.close().unwrap();
        let looked = |boot: &str, at: i64| {
            let (mut place, why) = open(boot, at);
            place.looked().unwrap();
            why
        };
        assert_eq!(looked("b", 10), None, "closed in good order, another boot does no harm");
        assert_eq!(looked("b", 20), None, "one kill does no harm");
        assert!(looked("b", 30).is_some(), "the second within a minute does");
        assert_eq!(looked("b", 40), None);
        let (place, why) = open("c", 50);
        assert!(why.is_some(), "open when the machine went down");
        assert!(!place.folder().exists());
        assert_eq!(looked("c", 60_000 + 60), None);
        assert_eq!(open("c", 120_000 + 70).1, None, "two kills more than a minute apart");
        assert!(open("c", 180_000 + 80).1.is_some(), "it ended while it looked at them");
    }

    #[test]
    fn views_of_which_a_part_is_missing_are_not_opened() {
        let home = tempfile::tempdir().unwrap();
        let open = |at: i64| Place::open(home.path(), "a", Timestamp(at)).unwrap();
        let (mut place, _) = open(0);
        std::fs::create_dir(place.folder()).unwrap();
        let file = place.folder().join("data.mdb");
        std::fs::write(&file, [0; 100]).unwrap();
        place.close().unwrap();
        let (mut place, why) = open(100_000);
        assert_eq!(why, None);
        place.looked().unwrap();
        std::fs::write(&file, [0; 50]).unwrap();
        assert!(open(200_000).1.is_some());
    }

    #[test]
    fn what_is_no_folder_makes_way() {
        let data = tempfile::tempdir().unwrap();
        let home = data.path().join("views");
        std::fs::write(&home, b"x").unwrap();
        assert!(Place::open(&home, "a", Timestamp(0)).is_ok());
        std::fs::remove_dir_all(&home).unwrap();
        std::os::unix::fs::symlink(data.path().join("nowhere"), &home).unwrap();
        assert!(Place::open(&home, "a", Timestamp(0)).is_ok());
    }

    #[test]
    fn what_another_engine_left_is_removed() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("db"), b"x").unwrap();
        let (_, why) = Place::open(home.path(), "a", Timestamp(0)).unwrap();
        assert!(why.is_some());
        assert!(!home.path().join("db").exists());
    }
}
