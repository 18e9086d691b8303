//! What was promised, kept outside of the journal: the last committed position and its record's hash.
//!
//! fjall drops the end of a damaged journal without a word. What was acknowledged must not go like
//! this, so the last commit also stands in a file of its own: two slots, written in turn, so that one
//! of them is whole whenever a write is cut off. It is written after the commit and never promises
//! more than the journal holds.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::store::record::Hash;

/// Position (8), hash of its record (16), CRC-32 of both (4), and zeros up to 32.
const SLOT: usize = 32;

/// What a slot of earlier versions held: position (8) and its complement (8).
const OLD_SLOT: usize = 16;

/// What was promised last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promised {
    pub position: u64,
    /// None: an earlier version wrote it, which did not know.
    pub hash: Option<Hash>,
}

/// The file that holds the mark.
pub struct Mark {
    file: File,
    next: u64,
}

impl Mark {
    /// Opens the file, and reads what it promises; nothing for a new one, or where neither of its
    /// slots is whole.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub fn open(path: &Path) -> io::Result<(Self, Option<Promised>)> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut newest: Option<Promised> = None;
        let mut next = 0;
        for slot in 0..2u64 {
            let mut bytes = [0; SLOT];
            if file.read_exact_at(&mut bytes, slot * SLOT as u64).is_err() {
                continue;
            }
            if let Some(promised) = promised_in(&bytes)
                && newest.is_none_or(|known| known.position < promised.position)
            {
                newest = Some(promised);
                next = 1 - slot;
            }
        }
        if newest.is_none() {
            newest = old_slots(&file);
        }
        Ok((Self { file, next }, newest))
    }

    /// Notes that everything up to this position is committed; `hash` is of the record there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set(&mut self, position: u64, hash: &Hash) -> io::Result<()> {
        let mut bytes = [0; SLOT];
        bytes[..8].copy_from_slice(&position.to_le_bytes());
        bytes[8..24].copy_from_slice(hash);
        let sum = crc32fast::hash(&bytes[..24]);
        bytes[24..28].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(&bytes, self.next * SLOT as u64)?;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap_or_default())
}

fn promised_in(bytes: &[u8; SLOT]) -> Option<Promised> {
    let position = number(&bytes[..8]);
    let sum = crc32fast::hash(&bytes[..24]).to_le_bytes();
    let whole = bytes[24..28] == sum && bytes[28..] == [0; 4] && position > 0;
    let hash = bytes[8..24].try_into().ok();
    whole.then_some(Promised { position, hash })
}

/// What an earlier version wrote; the first write of this one covers it.
fn old_slots(file: &File) -> Option<Promised> {
    let slots = (0..2u64).filter_map(|slot| {
        let mut bytes = [0; OLD_SLOT];
        file.read_exact_at(&mut bytes, slot * OLD_SLOT as u64).ok()?;
        let position = number(&bytes[..8]);
        (position == !number(&bytes[8..])).then_some(position)
    });
    slots.max().map(|position| Promised { position, hash: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_whole_slot_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let (mut mark, found) = Mark::open(&path).unwrap();
        assert_eq!(found, None);
        for position in [5, 9, 12] {
            mark.set(position, &[position as u8; 16]).unwrap();
        }
        let promised = |position| Promised { position, hash: Some([position as u8; 16]) };
        assert_eq!(Mark::open(&path).unwrap().1, Some(promised(12)));
        // a write that was cut off leaves the other slot
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff; 4], 0).unwrap();
        assert_eq!(Mark::open(&path).unwrap().1, Some(promised(9)));
    }

    #[test]
    fn a_mark_of_an_earlier_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let mut bytes = Vec::new();
        for position in [7u64, 6] {
            bytes.extend(position.to_le_bytes());
            bytes.extend((!position).to_le_bytes());
        }
        std::fs::write(&path, bytes).unwrap();
        let (mut mark, found) = Mark::open(&path).unwrap();
        assert_eq!(found, Some(Promised { position: 7, hash: None }));
        mark.set(8, &[8; 16]).unwrap();
        assert_eq!(Mark::open(&path).unwrap().1.map(|p| p.position), Some(8));
    }
}
