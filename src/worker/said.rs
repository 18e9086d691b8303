//! What a job writes to stderr: lines of its log, and how far it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::sync::Notify;

/// Lines that are kept until they are sent; beyond it the oldest are left out, and counted.
const KEPT: usize = 1000;

/// Lines that are sent at once.
const AT_ONCE: usize = 100;

/// Bytes that are sent at once; escaped they are six times as many at the most.
const BYTES_AT_ONCE: usize = 64 * 1024;

/// Bytes of a line.
const LINE_MAX: usize = 4 * 1024;

/// What was said, shared by who reads it and who sends it.
#[derive(Clone, Default)]
pub struct Said {
    inner: Arc<Mutex<Inner>>,
    more: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    lines: VecDeque<String>,
    left_out: usize,
    progress: Option<(f64, Option<String>)>,
}

/// What is sent at once.
#[derive(Debug, Default, PartialEq)]
pub struct Told {
    pub lines: Vec<String>,
    pub progress: Option<(f64, Option<String>)>,
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line.
    pub fn line(&self, line: &str) {
        let mut inner = self.lock();
        match progress(line) {
            Some(far) => inner.progress = Some(far),
            None => {
                let end = line.floor_char_boundary(LINE_MAX);
                inner.lines.push_back(line[..end].to_owned());
                if inner.lines.len() > KEPT {
                    inner.lines.pop_front();
                    inner.left_out += 1;
                }
            }
        }
        drop(inner);
        self.more.notify_one();
    }

    /// What is to be sent next; nothing where nothing was said.
    pub fn take(&self) -> Told {
        let mut inner = self.lock();
        let mut lines = Vec::new();
        if inner.left_out > 0 {
            lines.push(format!("… {} lines were left out", inner.left_out));
            inner.left_out = 0;
        }
        let mut bytes = 0;
        while lines.len() < AT_ONCE
            && bytes < BYTES_AT_ONCE
            && let Some(line) = inner.lines.pop_front()
        {
            bytes += line.len();
            lines.push(line);
        }
        Told { lines, progress: inner.progress.take() }
    }

    /// What could not be sent comes first again.
    pub fn put_back(&self, told: Told) {
        let mut inner = self.lock();
        for line in told.lines.into_iter().rev() {
            inner.lines.push_front(line);
        }
        inner.progress = inner.progress.take().or(told.progress);
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.lines.is_empty() && inner.progress.is_none()
    }

    /// Waits until something was said.
    pub async fn more(&self) {
        while self.is_empty() {
            self.more.notified().await;
        }
    }

    /// Reads lines to their end, and gives the first bytes of them. What is too long is cut; all is read, so
    /// that nobody waits for us.
    pub async fn read(&self, mut from: impl AsyncBufRead + Unpin, kept_max: usize) -> Vec<u8> {
        let (mut line, mut kept) = (Vec::new(), Vec::new());
        while let Ok(bytes) = from.fill_buf().await {
            if bytes.is_empty() {
                break;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let room = LINE_MAX.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            let room = kept_max.saturating_sub(kept.len());
            kept.extend_from_slice(&bytes[..used.min(room)]);
            from.consume(used);
            if end.is_some() {
                self.bytes(&std::mem::take(&mut line));
            }
        }
        if !line.is_empty() {
            self.bytes(&line);
        }
        kept
    }

    fn bytes(&self, line: &[u8]) {
        self.line(String::from_utf8_lossy(line).trim_end_matches('\r'));
    }
}

/// `progress 0.4 half of it`: how far it is.
fn progress(line: &str) -> Option<(f64, Option<String>)> {
    let rest = line.strip_prefix("progress ")?.trim_start();
    let (share, message) = match rest.split_once(char::is_whitespace) {
        Some((share, message)) => (share, Some(message.trim().to_owned())),
        None => (rest, None),
    };
    let share: f64 = share.parse().ok().filter(|share| (0.0..=1.0).contains(share))?;
    Some((share, message.filter(|message| !message.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_no_line() {
        let said = Said::default();
        said.line("progress 0.4 half of it");
        said.line("progress is slow");
        said.line("progress 7");
        let told = said.take();
        assert_eq!(told.progress, Some((0.4, Some("half of it".to_owned()))));
        assert_eq!(told.lines, ["progress is slow", "progress 7"]);
    }

    #[tokio::test]
    async fn what_is_too_much_is_left_out_and_counted() {
        let said = Said::default();
        let flood = "x\n".repeat(KEPT + 50) + &"y".repeat(LINE_MAX * 3);
        assert_eq!(said.read(flood.as_bytes(), 3).await, b"x\nx");
        let first = said.take();
        assert_eq!(first.lines.len(), AT_ONCE);
        assert_eq!(first.lines[0], "… 51 lines were left out");
        said.put_back(first);
        let mut all = Vec::new();
        while !said.is_empty() {
            all.extend(said.take().lines);
        }
        assert_eq!(all.len(), KEPT + 1);
        assert_eq!(all.last().map(String::len), Some(LINE_MAX));
    }
}
