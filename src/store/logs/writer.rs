//! The thread that writes segments, syncs them once a second, and removes the oldest.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use super::segment::{self, FULL};
use super::{Batch, Limits};

/// How often the disk has to take what was written.
const SYNC: Duration = Duration::from_secs(1);

/// How often it is looked for what is too old or too much.
const CLEAN: Duration = Duration::from_secs(60);

/// What the thread is told.
pub enum Told {
    Batch(Batch),
    /// Everything before this is to be in the files.
    Written(Sender<()>),
    /// And on the disk.
    Synced(Sender<()>),
}

struct Writer {
    folder: PathBuf,
    limits: Limits,
    open: File,
    path: PathBuf,
    bytes: u64,
    places: Vec<(u64, u64)>,
    unsynced: bool,
}

/// Starts the thread. It ends when nobody tells it anything any more.
pub fn start(folder: PathBuf, limits: Limits, told: Receiver<Told>) -> io::Result<()> {
    let mut writer = Writer::open(folder, limits)?;
    let work = move || writer.run(&told);
    std::thread::Builder::new().name("logs".to_owned()).spawn(work)?;
    Ok(())
}

impl Writer {
    fn open(folder: PathBuf, limits: Limits) -> io::Result<Self> {
        let segments = segment::all(&folder)?;
        for path in &segments {
            if segments.last() != Some(path) && !segment::index(path).exists() {
                segment::write_index(path, segment::scan(path)?.0)?;
            }
        }
        let last = segments.last().filter(|path| !segment::index(path).exists());
        let (path, places, bytes) = match last {
            Some(path) => {
                let (places, end) = segment::scan(path)?;
                (path.clone(), places, end)
            }
            None => {
                let next = segments.last().and_then(|path| segment::number(path)).unwrap_or(0) + 1;
                (segment::file(&folder, next), Vec::new(), 0)
            }
        };
        let open = opened(&path)?;
        // what is torn at its end is of nobody
        open.set_len(bytes)?;
        Ok(Self { folder, limits, open, path, bytes, places, unsynced: false })
    }

    fn run(&mut self, told: &Receiver<Told>) {
        let (mut synced, mut cleaned) = (Instant::now(), Instant::now());
        loop {
            let next = told.recv_timeout(SYNC);
            let done = match next {
                Ok(Told::Batch(batch)) => self.write(&batch),
                // whoever waits may have gone
                Ok(Told::Written(done)) => {
                    let _ = done.send(());
                    Ok(())
                }
                Ok(Told::Synced(done)) => {
                    let synced = self.sync();
                    let _ = done.send(());
                    synced
                }
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return drop(self.sync()),
            };
            let done = done.and_then(|()| {
                if synced.elapsed() >= SYNC {
                    synced = Instant::now();
                    self.sync()?;
                }
                if cleaned.elapsed() >= CLEAN {
                    cleaned = Instant::now();
                    self.clean()?;
                }
                Ok(())
            });
            if let Err(error) = done {
                metrics::counter!("caseworker_log_failures_total").increment(1);
                tracing::warn!(%error, "a log cannot be written");
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        if self.bytes >= FULL {
            self.sync()?;
            // kept until it is written: a full disk must not cost the whole segment
            segment::write_index(&self.path, self.places.clone())?;
            self.places.clear();
            let number = segment::number(&self.path).unwrap_or(0) + 1;
            self.path = segment::file(&self.folder, number);
            self.open = opened(&self.path)?;
            self.bytes = 0;
            self.clean()?;
        }
        let frame = segment::frame(batch)?;
        if let Err(error) = self.open.write_all(&frame) {
            // half a frame would hide what follows
            self.open.set_len(self.bytes)?;
            return Err(error);
        }
        self.places.push((segment::short(batch.case), self.bytes));
        self.bytes += frame.len() as u64;
        self.unsynced = true;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) {
            self.open.sync_data()?;
        }
        Ok(())
    }

    /// Removes segments that are too old, and the oldest where there is too much.
    fn clean(&self) -> io::Result<()> {
        let mut segments = Vec::new();
        for path in segment::all(&self.folder)?.into_iter().filter(|path| *path != self.path) {
            let known = std::fs::metadata(&path)?;
            segments.push((path, known.len(), known.modified()?));
        }
        let mut bytes: u64 = segments.iter().map(|(_, bytes, _)| bytes).sum::<u64>() + self.bytes;
        let keep = Duration::from_millis(self.limits.keep.unsigned_abs());
        for (path, size, modified) in segments {
            // files have times of the machine, not of the engine
            let age = age_of(modified);
            if age > keep || bytes > self.limits.bytes {
                std::fs::remove_file(&path)?;
                let _ = std::fs::remove_file(segment::index(&path));
                bytes -= size;
            }
        }
        Ok(())
    }
}

/// How old a file is, by the clock that wrote its time.
#[expect(clippy::disallowed_methods, reason = "a file's time is of the machine")]
fn age_of(modified: SystemTime) -> Duration {
    SystemTime::now().duration_since(modified).unwrap_or_default()
}

fn opened(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
