//! How far the journal was committed, kept outside of it.
//!
//! fjall drops the end of a damaged journal without a word. What was acknowledged must not go like
//! this, so the last committed position also stands in a file of its own: two slots, written in
//! turn, so that one of them is whole whenever a write is cut off. It is written after the commit
//! and never promises more than the journal holds.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Position (8), its complement (8): a slot is valid when the two agree.
const SLOT: usize = 16;

/// The file that holds the mark.
pub struct Mark {
    file: File,
    next: u64,
}

impl Mark {
    /// Opens the file, and reads the highest position that it holds; 0 for a new one, or where neither
    /// of its slots is whole.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub fn open(path: &Path) -> io::Result<(Self, u64)> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut highest = 0;
        let mut next = 0;
        for slot in 0..2u64 {
            let mut bytes = [0; SLOT];
            if file.read_exact_at(&mut bytes, slot * SLOT as u64).is_err() {
                continue;
            }
            let (position, complement) = bytes.split_at(8);
            let number = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap_or_default());
            let position = number(position);
            if position == !number(complement) && position > highest {
                highest = position;
                next = 1 - slot;
            }
        }
        Ok((Self { file, next }, highest))
    }

    /// Notes that everything up to this position is committed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set(&mut self, position: u64) -> io::Result<()> {
        let mut bytes = [0; SLOT];
        bytes[..8].copy_from_slice(&position.to_le_bytes());
        bytes[8..].copy_from_slice(&(!position).to_le_bytes());
        self.file.write_all_at(&bytes, self.next * SLOT as u64)?;
        self.next = 1 - self.next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_whole_slot_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let (mut mark, found) = Mark::open(&path).unwrap();
        assert_eq!(found, 0);
        for position in [5, 9, 12] {
            mark.set(position).unwrap();
        }
        assert_eq!(Mark::open(&path).unwrap().1, 12);
        // a write that was cut off leaves the other slot
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff; 4], 0).unwrap();
        assert_eq!(Mark::open(&path).unwrap().1, 9);
    }
}
