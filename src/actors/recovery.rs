//! What is owed from before the start: every case that owes something is woken once. After two
//! unclean ends within a minute the start is careful (see [`super::care`]); a case that was the noted
//! one at two unclean ends is taken out of service.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::office::Office;
use crate::domain::case::command::Command;
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;
use crate::store::views::TableError;

/// Cases read in one go.
const PAGE: usize = 500;

/// After which what is owed is read again, where it could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// Milliseconds within which two unclean ends make the start careful.
const CLOSE: i64 = 60_000;

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
        std::fs::rename(&new, &self.path)
    }
}

/// Wakes every case that owes something; a careful start is over when that is done and a while has
/// passed.
pub async fn recover(office: Arc<Office>) {
    let careful = office.care.is_taken();
    let over = tokio::time::Instant::now() + Duration::from_millis(CLOSE.unsigned_abs());
    let woken = loop {
        match wake_all(&office).await {
            Ok(Some(woken)) => break woken,
            // they were made anew meanwhile, and had not all yet
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "what is owed cannot be read; it is read again"),
        }
        tokio::time::sleep(AGAIN).await;
    };
    if woken > 0 {
        tracing::info!(cases = woken, careful, "cases that owed something are woken");
    }
    if careful {
        tokio::time::sleep_until(over).await;
        office.care.is_over();
        tracing::info!("the careful start is over");
    }
}

/// Wakes what the views say is owed. How many; none: they were not the same, or not complete, throughout.
async fn wake_all(office: &Arc<Office>) -> Result<Option<usize>, TableError> {
    let (generation, mut last, mut woken) = (office.views.generation(), None, 0);
    loop {
        let page = office.views.owing(last, PAGE)?;
        let Some(newest) = page.last() else { break };
        last = Some(*newest);
        for case in page {
            woken += 1;
            office.wake_soon(case, Command::Recover).await;
        }
    }
    let same = office.views.generation() == generation && office.views.progress().is_none();
    Ok(same.then_some(woken))
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
