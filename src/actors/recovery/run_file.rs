//! How the last runs ended, in a file of its own: it decides how careful a start has to be.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;

/// Milliseconds within which two unclean ends make the start careful.
pub const CLOSE: i64 = 60_000;

/// What is known of earlier runs, in a file of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Runs {
    /// The run that wrote this has ended in good order.
    clean: bool,
    /// When unclean ends were found, the newest last.
    unclean: Vec<Timestamp>,
    /// The case that is being woken.
    noted: Option<CaseId>,
    /// The case that was the noted one at the last unclean end.
    suspect: Option<CaseId>,
}

/// How the start has to go about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub careful: bool,
    /// A case that was being woken at two unclean ends.
    pub culprit: Option<CaseId>,
}

impl Runs {
    /// A start: what the last run left decides how.
    pub fn start(&mut self, now: Timestamp) -> Start {
        let mut culprit = None;
        if !std::mem::replace(&mut self.clean, false) {
            // one from the future is of a clock that was set
            self.unclean.retain(|at| (0..CLOSE).contains(&now.since(*at)));
            self.unclean.push(now);
            let noted = self.noted.take();
            if noted.is_some() && noted == self.suspect {
                culprit = noted;
                self.suspect = None;
            } else {
                self.suspect = noted;
            }
        } else {
            *self = Self::default();
        }
        Start { careful: self.unclean.len() >= 2, culprit }
    }
}

/// The file.
pub struct RunFile {
    path: PathBuf,
    runs: Runs,
}

impl RunFile {
    /// Reads the file of a folder and notes that a run has begun.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(folder: &Path, now: Timestamp) -> io::Result<(Self, Start)> {
        let path = folder.join("run.json");
        let known = std::fs::read(&path).ok();
        let fresh = Runs { clean: true, ..Runs::default() };
        let mut runs =
            known.map_or(fresh, |bytes| serde_json::from_slice(&bytes).unwrap_or_default());
        let start = runs.start(now);
        let file = Self { path, runs };
        file.write()?;
        Ok((file, start))
    }

    /// The run has ended in good order.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end(&mut self) -> io::Result<()> {
        self.runs = Runs { clean: true, ..Runs::default() };
        self.write()
    }

    /// Notes the case that is being woken; none: it has been.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&mut self, case: Option<CaseId>) -> io::Result<()> {
        self.runs.noted = case;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&self.runs)?)?;
        file.sync_data()?;
        std::fs::rename(&new, &self.path)?;
        // or a power cut might bring an older one back, which says that all was well
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Bits;

    fn case(n: u8) -> CaseId {
        CaseId(Bits([n; 16]))
    }

    #[test]
    fn two_unclean_ends_within_a_minute_make_it_careful() {
        let mut runs = Runs { clean: true, ..Runs::default() };
        assert!(!runs.start(Timestamp(0)).careful);
        assert!(!runs.start(Timestamp(1000)).careful);
        assert!(runs.start(Timestamp(2000)).careful);
        assert!(!runs.start(Timestamp(2000 + CLOSE)).careful);
    }

    #[test]
    fn only_a_case_that_was_noted_twice_is_a_culprit() {
        let mut runs = Runs::default();
        runs.start(Timestamp(0));
        runs.noted = Some(case(1));
        assert_eq!(runs.start(Timestamp(1)).culprit, None);
        runs.noted = Some(case(2));
        assert_eq!(runs.start(Timestamp(2)).culprit, None);
        runs.noted = Some(case(2));
        assert_eq!(runs.start(Timestamp(3)).culprit, Some(case(2)));
    }

    #[test]
    fn the_file_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, start) = RunFile::begin(folder.path(), Timestamp(0)).unwrap();
        assert_eq!(start, Start { careful: false, culprit: None });
        file.end().unwrap();
        let (_, start) = RunFile::begin(folder.path(), Timestamp(0)).unwrap();
        assert!(!start.careful);
        let (_, start) = RunFile::begin(folder.path(), Timestamp(1)).unwrap();
        assert!(!start.careful);
        let (_, start) = RunFile::begin(folder.path(), Timestamp(2)).unwrap();
        assert!(start.careful);
    }
}
