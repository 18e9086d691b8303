//! Segments: files of frames, each a batch, and beside each full one an index by case.
//!
//! A frame is its length and the CRC-32 of its bytes, both 4 bytes little-endian, and a batch as JSON. A torn
//! end is cut off when the segment is taken up again. An index is a sorted list of 16 bytes: the first 8 of
//! the case's hash, and where its frame begins.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Batch;
use crate::domain::ids::{Bits, CaseId};

/// Bytes from which on another segment is begun.
pub const FULL: u64 = 8 * 1024 * 1024;

/// Bytes of a frame at the most; what claims more is torn.
const FRAME_MAX: usize = 4 * 1024 * 1024;

const HEAD: usize = 8;
const ENTRY: usize = 16;

/// A segment's number, from the name of its file.
pub fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".log")?.parse().ok()
}

/// The file of a segment.
pub fn file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.log"))
}

/// The file of its index.
pub fn index(segment: &Path) -> PathBuf {
    segment.with_extension("idx")
}

/// The segments of a folder, the oldest first.
pub fn all(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if number(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A case as an index knows it.
pub fn short(case: CaseId) -> u64 {
    let bits = Bits::derived(&[&case.0.0]);
    u64::from_be_bytes(bits.0.first_chunk::<8>().copied().unwrap_or_default())
}

/// Puts a batch into its frame.
pub fn frame(batch: &Batch) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(batch)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(crc32fast::hash(&body).to_le_bytes());
    frame.extend(body);
    Ok(frame)
}

/// The next batch, and how many bytes its frame has. None: there is no whole one.
fn next(file: &mut impl Read) -> io::Result<Option<(Batch, u64)>> {
    let mut head = [0; HEAD];
    if !filled(file, &mut head)? {
        return Ok(None);
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > FRAME_MAX {
        return Ok(None);
    }
    let mut body = vec![0; length];
    if !filled(file, &mut body)? || crc32fast::hash(&body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Ok(None);
    }
    let batch = serde_json::from_slice(&body).ok();
    Ok(batch.map(|batch| (batch, (HEAD + length) as u64)))
}

/// Reads as much as there is room for; false: there is less.
fn filled(file: &mut impl Read, room: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(room) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Which cases a segment has something of and where, and where its last whole frame ends.
pub fn scan(path: &Path) -> io::Result<(Vec<(u64, u64)>, u64)> {
    let mut file = io::BufReader::new(File::open(path)?);
    let (mut places, mut at) = (Vec::new(), 0);
    while let Some((batch, bytes)) = next(&mut file)? {
        places.push((short(batch.case), at));
        at += bytes;
    }
    Ok((places, at))
}

/// Writes the index of a full segment.
pub fn write_index(segment: &Path, mut places: Vec<(u64, u64)>) -> io::Result<()> {
    places.sort_unstable();
    let mut bytes = Vec::with_capacity(places.len() * ENTRY);
    for (case, at) in places {
        bytes.extend(case.to_be_bytes());
        bytes.extend(at.to_be_bytes());
    }
    let path = index(segment);
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    std::fs::rename(part, path)
}

/// Where a segment has something of a case, by its index. None: it has none.
fn places(segment: &Path, case: u64) -> io::Result<Option<Vec<u64>>> {
    let mut file = match File::open(index(segment)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let entries = file.metadata()?.len() / ENTRY as u64;
    let mut entry = |n: u64| -> io::Result<(u64, u64)> {
        let mut bytes = [0; ENTRY];
        file.seek(SeekFrom::Start(n * ENTRY as u64))?;
        file.read_exact(&mut bytes)?;
        let (case, at) = bytes.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        Ok((number(case), number(at)))
    };
    let (mut low, mut high) = (0, entries);
    while low < high {
        let middle = low + (high - low) / 2;
        if entry(middle)?.0 < case { low = middle + 1 } else { high = middle }
    }
    let mut found = Vec::new();
    while low < entries {
        let (of, at) = entry(low)?;
        if of != case {
            break;
        }
        found.push(at);
        low += 1;
    }
    Ok(Some(found))
}

/// All that the segments of a folder have of a case, the oldest first.
pub fn read(folder: &Path, case: CaseId) -> io::Result<Vec<Batch>> {
    let mut found = Vec::new();
    for path in all(folder)? {
        let places = match places(&path, short(case))? {
            Some(places) => places,
            // it is not full yet
            None => {
                let (all, _) = scan(&path)?;
                all.into_iter().filter(|(of, _)| *of == short(case)).map(|(_, at)| at).collect()
            }
        };
        if places.is_empty() {
            continue;
        }
        let mut file = match File::open(&path) {
            Ok(file) => file,
            // it has gone meanwhile
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for at in places {
            file.seek(SeekFrom::Start(at))?;
            if let Some((batch, _)) = next(&mut file)?
                && batch.case == case
            {
                found.push(batch);
            }
        }
    }
    Ok(found)
}
