//! What workers write while they do a job: lines and progress, in files of their own beside the journal.
//! A log is worth less than a result: it is written by a thread that nobody waits for, synced once a second,
//! and the oldest of it goes by age and by room.

mod bounds;
mod segment;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::TaskId;
use bounds::Bounds;
pub use bounds::{HEAD_MAX, LINE_MAX, TAIL_MAX};
use writer::Told;

/// Batches that wait to be written at the most; then they are dropped, and counted.
const QUEUE: usize = 1024;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Milliseconds.
    pub keep: i64,
    pub bytes: u64,
}

/// Which attempt a line is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    pub task: TaskId,
    pub iteration: u32,
    pub attempt: u32,
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// What does the job.
    Err,
    /// The worker that runs it.
    Worker,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub at: Timestamp,
    pub stream: Stream,
    pub line: String,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub at: Timestamp,
    /// From 0 to 1.
    pub share: f64,
    pub message: Option<String>,
}

/// What a worker has said of an attempt at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub case: CaseId,
    pub of: Attempt,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lines: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub progress: Option<Progress>,
    /// Bytes that were left out before these lines.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub left_out: u64,
}

fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// The logs. Cheap to clone.
#[derive(Clone)]
pub struct Logs {
    folder: PathBuf,
    /// The attempts under way.
    bounds: Arc<Mutex<Bounds>>,
    writer: SyncSender<Told>,
}

impl Logs {
    /// The logs in a folder.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(folder: &Path, limits: Limits) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (writer, told) = sync_channel(QUEUE);
        writer::start(folder.to_owned(), limits, told)?;
        Ok(Self { folder: folder.to_owned(), bounds: Arc::default(), writer })
    }

    fn lock(&self) -> MutexGuard<'_, Bounds> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a worker says. What is too much for an attempt is left out of its middle.
    pub fn append(&self, batch: Batch, now: Timestamp) {
        let written = self.lock().take(batch, now);
        self.write(written);
    }

    /// An attempt has ended: what was kept back of its end is written.
    pub fn ended(&self, case: CaseId, of: Attempt) {
        let written = self.lock().end(case, of);
        self.write(written);
    }

    fn write(&self, batch: Option<Batch>) {
        if let Some(batch) = batch
            && self.writer.try_send(Told::Batch(batch)).is_err()
        {
            metrics::counter!("caseworker_log_batches_dropped_total").increment(1);
        }
    }

    /// What is kept of a case, the oldest first. It reads files.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(&self, case: CaseId) -> io::Result<Vec<Batch>> {
        // what was told before is in the files then
        let (done, written) = std::sync::mpsc::channel();
        if self.writer.send(Told::Written(done)).is_ok() {
            let _ = written.recv();
        }
        let mut found = segment::read(&self.folder, case)?;
        found.extend(self.lock().kept_back(case));
        Ok(found)
    }

    /// Writes what is kept back, and has the disk take everything.
    pub fn close(&self) {
        let rest = self.lock().end_all();
        rest.into_iter().for_each(|batch| self.write(Some(batch)));
        let (done, written) = std::sync::mpsc::channel();
        if self.writer.send(Told::Synced(done)).is_ok() {
            let _ = written.recv();
        }
    }
}

#[cfg(test)]
mod tests;
