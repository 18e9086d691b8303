//! A careful start: after two unclean ends within a minute, whatever wakes a case is noted durably
//! before, and cases are woken one at a time, so that one that ends the process is found out.

use std::collections::HashSet;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use super::run_file::RunFile;
use crate::domain::ids::CaseId;

/// How long one case may hold up the others.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whether this start is careful, and who is being woken.
#[derive(Default)]
pub struct CarefulStart {
    careful: AtomicBool,
    /// Whose turn it is: whoever waits for it holds nothing that others need.
    turn: Mutex<()>,
    /// None: nothing is noted by this process.
    run: Mutex<Option<RunFile>>,
    /// Cases that have decided once in this run, and not ended the process: they are not noted again, so that
    /// a kill from outside marks nobody who is merely busy.
    cleared: std::sync::Mutex<HashSet<CaseId>>,
}

/// A case while it is woken.
pub struct Noted<'a> {
    case: CaseId,
    run: MutexGuard<'a, Option<RunFile>>,
    cleared: &'a std::sync::Mutex<HashSet<CaseId>>,
}

impl CarefulStart {
    /// Where it is noted from now on.
    pub async fn begin(&self, run: RunFile, careful: bool) {
        *self.run.lock().await = Some(run);
        self.careful.store(careful, Ordering::Release);
    }

    /// Whether cases are woken one at a time.
    pub fn is_taken(&self) -> bool {
        self.careful.load(Ordering::Acquire)
    }

    /// Nobody ended the process for long enough.
    pub fn is_over(&self) {
        self.careful.store(false, Ordering::Release);
        self.cleared.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The turn to wake a case, after all who came before. None: the start is not careful.
    pub async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.is_taken() {
            true => Some(self.turn.lock().await),
            false => None,
        }
    }

    /// Notes a case before it is woken, after those before it were. None: the start is not careful, or it has
    /// decided well since.
    pub async fn note(&self, case: CaseId) -> Option<Noted<'_>> {
        let cleared = self.cleared.lock().unwrap_or_else(PoisonError::into_inner).contains(&case);
        if cleared || !self.is_taken() {
            return None;
        }
        let mut run = self.run.lock().await;
        write(&mut run, Some(case));
        Some(Noted { case, run, cleared: &self.cleared })
    }

    /// The run ends in good order.
    ///
    /// # Errors
    /// When that cannot be noted.
    pub async fn end(&self) -> io::Result<()> {
        self.run.lock().await.as_mut().map_or(Ok(()), RunFile::end)
    }
}

impl Noted<'_> {
    /// Its first decision is committed, or there was none. `well`: it has decided.
    pub fn has_woken(mut self, well: bool) {
        write(&mut self.run, None);
        if well {
            self.cleared.lock().unwrap_or_else(PoisonError::into_inner).insert(self.case);
        }
    }
}

fn write(run: &mut Option<RunFile>, case: Option<CaseId>) {
    let written = run.as_mut().map_or(Ok(()), |run| run.note(case));
    if let Err(error) = written {
        tracing::error!(%error, "the case that is woken cannot be noted");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::domain::ids::Bits;
    use crate::domain::time::Timestamp;

    fn case(n: u8) -> CaseId {
        CaseId(Bits([n; 16]))
    }

    fn noted_in(folder: &Path) -> bool {
        let text = std::fs::read_to_string(folder.join("run.json")).unwrap();
        !text.contains(r#""noted":null"#)
    }

    #[tokio::test]
    async fn one_case_at_a_time_is_woken_and_noted_before() {
        let folder = tempfile::tempdir().unwrap();
        let (run, _) = RunFile::begin(folder.path(), Timestamp(0)).unwrap();
        let care = CarefulStart::default();
        assert!(care.note(case(1)).await.is_none(), "not before it is careful");
        care.begin(run, true).await;
        let first = care.note(case(1)).await.unwrap();
        assert!(noted_in(folder.path()));
        let mut second = Box::pin(care.note(case(2)));
        assert!(futures_util::poll!(&mut second).is_pending());
        first.has_woken(true);
        assert!(!noted_in(folder.path()));
        second.await.unwrap().has_woken(false);
        care.note(case(2)).await.unwrap().has_woken(false);
        assert!(care.note(case(1)).await.is_none(), "it has decided well");
        care.is_over();
        assert!(care.note(case(3)).await.is_none());
    }
}
