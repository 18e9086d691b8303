//! How much of one attempt is kept: its beginning, and its end. What lies between is left out and counted.

use std::collections::{HashMap, VecDeque};

use super::{Attempt, Batch, Line, Progress};
use crate::domain::ids::CaseId;
use crate::domain::time::Timestamp;

/// Bytes of an attempt's beginning that are kept, and of its end.
pub const HEAD_MAX: usize = 64 * 1024;
pub const TAIL_MAX: usize = 192 * 1024;

/// Bytes of a line.
pub const LINE_MAX: usize = 4 * 1024;

/// Bytes of ends that are kept back over all attempts; beyond it the oldest are written.
const KEPT_BACK_MAX: usize = 64 * 1024 * 1024;

/// Milliseconds between two notes of an attempt's progress.
const PROGRESS_EVERY: i64 = 1000;

/// Bytes that a line takes at least.
const LEAST: usize = 16;

/// The attempts under way that have written something.
#[derive(Default)]
pub struct Bounds {
    attempts: HashMap<(CaseId, Attempt), Written>,
    kept_back: usize,
}

#[derive(Default)]
struct Written {
    head: usize,
    /// The end, kept back until the attempt has ended.
    tail: VecDeque<Line>,
    tail_bytes: usize,
    left_out: u64,
    progress_at: Option<Timestamp>,
    progress: Option<Progress>,
}

/// Bytes that a line takes, near enough. One without a word takes some as well.
fn size(line: &Line) -> usize {
    (line.line.len() + 1).max(LEAST)
}

impl Written {
    /// Takes a line at the end; the oldest fall out.
    fn push(&mut self, line: Line) {
        self.tail_bytes += size(&line);
        self.tail.push_back(line);
        while self.tail_bytes > TAIL_MAX
            && let Some(oldest) = self.tail.pop_front()
        {
            self.tail_bytes -= size(&oldest);
            self.left_out += oldest.line.len() as u64 + 1;
        }
    }

    fn batch(&mut self, case: CaseId, of: Attempt) -> Option<Batch> {
        let lines: Vec<Line> = std::mem::take(&mut self.tail).into();
        self.tail_bytes = 0;
        let (progress, left_out) = (self.progress.take(), std::mem::take(&mut self.left_out));
        let said = !lines.is_empty() || progress.is_some();
        said.then_some(Batch { case, of, lines, progress, left_out })
    }
}

impl Bounds {
    /// What of a batch is written now; the rest is kept back until the attempt has ended.
    pub fn take(&mut self, batch: Batch, now: Timestamp) -> Option<Batch> {
        let Batch { case, of, lines, progress, .. } = batch;
        let written = self.attempts.entry((case, of)).or_default();
        let mut head = Vec::new();
        let before = written.tail_bytes;
        for mut line in lines {
            shorten(&mut line.line);
            if written.tail.is_empty() && written.head + size(&line) <= HEAD_MAX {
                written.head += size(&line);
                head.push(line);
            } else {
                written.push(line);
            }
        }
        let after = written.tail_bytes;
        written.progress = progress.or(written.progress.take());
        let due = written.progress_at.is_none_or(|at| now.since(at) >= PROGRESS_EVERY);
        let progress = if due { written.progress.take() } else { None };
        if progress.is_some() {
            written.progress_at = Some(now);
        }
        self.kept_back = self.kept_back + after - before;
        if self.kept_back > KEPT_BACK_MAX {
            // an attempt that writes so much is ended before its time as far as its log goes
            return self.end(case, of);
        }
        let said = !head.is_empty() || progress.is_some();
        said.then_some(Batch { case, of, lines: head, progress, left_out: 0 })
    }

    /// An attempt has ended: what was kept back.
    pub fn end(&mut self, case: CaseId, of: Attempt) -> Option<Batch> {
        let mut written = self.attempts.remove(&(case, of))?;
        self.kept_back -= written.tail_bytes;
        written.batch(case, of)
    }

    /// All attempts have ended, as far as this process knows.
    pub fn end_all(&mut self) -> Vec<Batch> {
        let all: Vec<(CaseId, Attempt)> = self.attempts.keys().copied().collect();
        all.into_iter().filter_map(|(case, of)| self.end(case, of)).collect()
    }

    /// What is kept back of a case's attempts.
    pub fn kept_back(&self, case: CaseId) -> Vec<Batch> {
        let of_case = self.attempts.iter().filter(|((of, _), _)| *of == case);
        let batches = of_case.map(|((case, of), written)| Batch {
            case: *case,
            of: *of,
            lines: written.tail.iter().cloned().collect(),
            progress: written.progress.clone(),
            left_out: written.left_out,
        });
        batches.filter(|batch| !batch.lines.is_empty() || batch.progress.is_some()).collect()
    }
}

/// Cuts a line that is too long, at the border of a character.
fn shorten(line: &mut String) {
    if line.len() > LINE_MAX {
        line.truncate(line.floor_char_boundary(LINE_MAX));
        line.push('…');
    }
}
