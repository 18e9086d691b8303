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
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

/// What is left behind the last whole batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Torn {
    pub path: PathBuf,
    /// Bytes of the file that are whole.
    pub whole: u64,
}

/// What was cut off, and where it was put.
pub struct Cut {
    torn: Torn,
    pub aside: PathBuf,
}

/// Looks where the newest file of fjall's journal stops being whole. None: there is no such file.
///
/// # Errors
/// When it cannot be read.
pub fn find(folder: &Path) -> io::Result<Option<Torn>> {
    let Some(path) = newest_file(folder)? else { return Ok(None) };
    let mut reader = BufReader::new(File::open(&path)?);
    let mut whole = 0;
    while let Some(length) = batch(&mut reader)? {
        whole += length;
    }
    Ok(Some(Torn { path, whole }))
}

impl Torn {
    /// Cuts it off, after copying the file aside.
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
        let file = File::options().write(true).open(&self.path)?;
        file.set_len(self.whole)?;
        file.sync_all()?;
        Ok(Cut { torn: self, aside })
    }
}

impl Cut {
    /// Puts back what was cut off: it was more than may be lost.
    ///
    /// # Errors
    /// When it cannot be copied back.
    pub fn put_back(&self) -> io::Result<()> {
        std::fs::copy(&self.aside, &self.torn.path)?;
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

/// The length of the next batch, if it is whole.
fn batch(reader: &mut impl Read) -> io::Result<Option<u64>> {
    let mut frames = Frames { reader, read: 0 };
    let whole = frames.batch();
    match whole {
        Ok(true) => Ok(Some(frames.read)),
        Ok(false) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

struct Frames<'a, R> {
    reader: &'a mut R,
    read: u64,
}

impl<R: Read> Frames<'_, R> {
    fn batch(&mut self) -> io::Result<bool> {
        if self.bytes::<1>()? != [START] {
            return Ok(false);
        }
        let items = u32::from_le_bytes(self.bytes()?);
        self.bytes::<8>()?;
        let mut sum = Xxh3::new();
        for _ in 0..items {
            if !self.item(&mut sum)? {
                return Ok(false);
            }
        }
        if self.bytes::<1>()? != [END] {
            return Ok(false);
        }
        let expected = u64::from_le_bytes(self.bytes()?);
        let trailer: [u8; 4] = self.bytes()?;
        Ok(expected == sum.digest() && trailer.starts_with(b"FJL"))
    }

    fn item(&mut self, sum: &mut Xxh3) -> io::Result<bool> {
        let tag: [u8; 1] = self.bytes()?;
        sum.update(&tag);
        match tag[0] {
            ITEM => {
                let head: [u8; 20] = self.bytes()?;
                sum.update(&head);
                let key = u16::from_le_bytes([head[10], head[11]]);
                let value = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
                let length = u64::from(key) + u64::from(value);
                let mut rest = Vec::new();
                let got = self.reader.by_ref().take(length).read_to_end(&mut rest)? as u64;
                self.read += got;
                sum.update(&rest);
                Ok(got == length)
            }
            CLEAR => {
                sum.update(&self.bytes::<8>()?);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.read += N as u64;
        Ok(bytes)
    }
}
