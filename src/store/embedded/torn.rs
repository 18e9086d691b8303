//! The end of fjall's journal file, where a power cut has left a later page of the last batch and not
//! an earlier one: fjall refuses to open it. Its frames are read here as far as they are whole.
//!
//! ```text
//! batch   start, items, end
//! start   1, number of items (4), sequence number (8)
//! item    2, type (1), compression (1), keyspace (8), key length (2), value length (4),
//!         length on disk (4), key, value
//! clear   4, keyspace (8); counts as an item
//! end     3, XXH3 of the items' bytes (8), "FJL" and its version (4)
//! ```
//!
//! All numbers are little-endian, as fjall 3.1.13 writes them (`journal/entry.rs` there).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::store::keys;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

/// The newest of fjall's journal files, which is not whole to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Torn {
    pub path: PathBuf,
    /// Bytes of the file that are whole.
    pub whole: u64,
    /// Position of the last record in them, as the index has it; none: they hold none.
    pub reaches: Option<u64>,
    /// Whole batches lie behind what is not whole: then it is damage in the middle, and no torn end,
    /// since each batch is synced before the next begins.
    pub more: bool,
}

/// A file that was cut off.
pub struct Cut {
    path: PathBuf,
    /// Its copy.
    pub aside: PathBuf,
}

/// Looks where the newest file stops being whole. None: there is no such file, or it is whole up to the
/// zeros that it was made of.
///
/// # Errors
/// When it cannot be read.
pub fn find(folder: &Path) -> io::Result<Option<Torn>> {
    let Some(path) = newest_file(folder)? else { return Ok(None) };
    let bytes = std::fs::read(&path)?;
    let (mut whole, mut reaches) = (0, None);
    while let Some(batch) = Batch::at(&bytes[whole..]) {
        whole += batch.length;
        reaches = reaches.max(batch.position);
    }
    if bytes[whole..].iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    // a batch that begins right here is the one that is not whole
    let behind = bytes.get(whole + 1..).unwrap_or_default();
    let starts = behind.iter().enumerate().filter(|(_, byte)| **byte == START);
    let more = starts.map(|(at, _)| at).any(|at| Batch::at(&behind[at..]).is_some());
    Ok(Some(Torn { path, whole: whole as u64, reaches, more }))
}

impl Torn {
    /// Cuts off what is not whole, after copying the file aside. Where the copy is.
    ///
    /// # Errors
    /// When it cannot be copied or cut.
    pub fn cut(self) -> io::Result<Cut> {
        let name = format!("{}-{}.torn", stem(&self.path), self.whole);
        // not among fjall's own files
        let folder = self.path.parent().and_then(Path::parent).unwrap_or(Path::new("."));
        let aside = folder.join(name);
        std::fs::copy(&self.path, &aside)?;
        File::open(&aside)?.sync_all()?;
        File::open(folder)?.sync_all()?;
        let file = File::options().write(true).open(&self.path)?;
        file.set_len(self.whole)?;
        file.sync_all()?;
        Ok(Cut { path: self.path, aside })
    }
}

impl Cut {
    /// Brings the file back as it was: what was cut off had been promised.
    ///
    /// # Errors
    /// When it cannot be copied; the copy is left then.
    pub fn undo(self) -> io::Result<()> {
        std::fs::copy(&self.aside, &self.path)?;
        File::open(&self.path)?.sync_all()?;
        std::fs::remove_file(&self.aside)
    }
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

/// The newest of fjall's journal files: the only one that can be torn, since it syncs one before it
/// begins the next.
fn newest_file(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = stem(&path).parse::<u64>().ok();
        if path.extension().is_some_and(|e| e == "jnl") {
            newest = newest.max(number.map(|number| (number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// A whole batch.
struct Batch {
    length: usize,
    /// The highest position that it leads to.
    position: Option<u64>,
}

impl Batch {
    /// The batch that these bytes begin with, if it is whole.
    fn at(bytes: &[u8]) -> Option<Self> {
        let mut frames = Frames { rest: bytes, sum: Xxh3::new(), position: None };
        let [START] = frames.take::<1>()? else { return None };
        let items = u32::from_le_bytes(frames.take()?);
        frames.take::<8>()?;
        for _ in 0..items {
            frames.item()?;
        }
        let [END] = frames.take::<1>()? else { return None };
        let expected = u64::from_le_bytes(frames.take()?);
        let trailer: [u8; 4] = frames.take()?;
        let whole = expected == frames.sum.digest() && trailer.starts_with(b"FJL");
        let length = bytes.len() - frames.rest.len();
        whole.then_some(Self { length, position: frames.position })
    }
}

struct Frames<'a> {
    rest: &'a [u8],
    sum: Xxh3,
    position: Option<u64>,
}

impl<'a> Frames<'a> {
    fn item(&mut self) -> Option<()> {
        let tag: [u8; 1] = self.take()?;
        self.sum.update(&tag);
        match tag[0] {
            ITEM => {
                let head: [u8; 20] = self.take()?;
                self.sum.update(&head);
                let key = self.split(usize::from(u16::from_le_bytes([head[10], head[11]])))?;
                let length = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
                let value = self.split(usize::try_from(length).ok()?)?;
                self.sum.update(key);
                self.sum.update(value);
                // the index leads from an entity and a version to a position
                if keys::version_of(key).is_some() {
                    self.position = self.position.max(keys::position_of(value));
                }
                Some(())
            }
            CLEAR => {
                let keyspace = self.take::<8>()?;
                self.sum.update(&keyspace);
                Some(())
            }
            _ => None,
        }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    fn split(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}
