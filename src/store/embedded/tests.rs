//! The journal's contract: what is acknowledged is there, in order, and a stale writer is refused.

use std::path::Path;

use super::{Append, AppendError, Journal, OpenError, check_chain};
use crate::domain::ids::{Bits, Entity, EntityKind};
use crate::domain::time::Timestamp;
use crate::store::record::{self, BadRecord, By, Header, SCHEMA};

/// The positions of the notes that were taken in.
type Note = Vec<u64>;

fn open(folder: &Path) -> Journal<Note> {
    Journal::open(folder, |error| panic!("{error}")).unwrap()
}

fn entity(n: u8) -> Entity {
    Entity { kind: EntityKind::Case, bits: Bits([n; 16]) }
}

fn record_of(of: Entity, version: u64, previous: record::Hash) -> Vec<u8> {
    let header = Header {
        schema: SCHEMA,
        entity: of,
        version,
        count: 1,
        at: Timestamp(1),
        previous,
        command: None,
        by: By::engine(),
    };
    record::encode(&header, br#"[["unwound"]]"#)
}

fn append(of: Entity, expected: u64) -> Append<Note> {
    let record = record_of(of, expected + 1, [0; 16]);
    Append { entity: of, expected, count: 1, record, note: Some(vec![expected]) }
}

#[tokio::test]
async fn what_is_acknowledged_is_there_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    assert_eq!(journal.append(append(entity(1), 0)).await, Ok(1));
    assert_eq!(journal.append(append(entity(2), 0)).await, Ok(2));
    assert_eq!(journal.append(append(entity(1), 1)).await, Ok(3));
    assert_eq!(journal.read(entity(1), 1, 10).unwrap().len(), 2);
    assert_eq!(journal.read(entity(1), 2, 10).unwrap().len(), 1);
    let positions: Vec<u64> = journal.tail_from(1, 10).unwrap().iter().map(|(p, _)| *p).collect();
    assert_eq!(positions, [2, 3]);
    let taken = journal.tail().take().await;
    assert_eq!((taken.after, taken.through), (0, 3));
    let positions: Vec<u64> = taken.items.iter().map(|c| c.position).collect();
    assert_eq!(positions, [2, 3], "the first is part of the third, of the same entity");
    journal.close();
    assert_eq!(journal.append(append(entity(1), 2)).await, Err(AppendError::Closed));
    drop(journal);
    let again = open(folder.path());
    assert_eq!(again.last_position().unwrap(), 3);
    assert_eq!(again.append(append(entity(1), 2)).await, Ok(4));
}

#[tokio::test]
async fn a_stale_writer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    journal.append(append(entity(1), 0)).await.unwrap();
    assert_eq!(journal.append(append(entity(1), 0)).await, Err(AppendError::Conflict));
    journal.append(append(entity(1), 1)).await.unwrap();
    journal.close();
    drop(journal);
    // also when nothing of it is in memory any more
    let again = open(folder.path());
    assert_eq!(again.append(append(entity(1), 0)).await, Err(AppendError::Conflict));
    assert_eq!(again.append(append(entity(1), 1)).await, Err(AppendError::Conflict));
    assert_eq!(again.append(append(entity(1), 2)).await, Ok(3));
}

#[tokio::test]
async fn several_records_go_in_together() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    journal.append(append(entity(2), 0)).await.unwrap();
    let all = (1..=3).map(|n| append(entity(n), 0)).collect();
    let answers = journal.append_all(all).await.unwrap();
    assert_eq!(answers, [Ok(2), Err(AppendError::Conflict), Ok(3)]);
    let mut all: Vec<_> = (4..=5).map(|n| append(entity(n), 0)).collect();
    all[1].record = vec![0; record::RECORD_MAX + 1];
    assert_eq!(journal.append_all(all).await, Err(AppendError::TooLarge));
    assert_eq!(journal.last_position().unwrap(), 3);
    assert_eq!(journal.at(3).unwrap(), Some(record_of(entity(3), 1, [0; 16])));
}

#[tokio::test]
async fn of_many_writers_at_one_version_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let journal = journal.clone();
        writers.spawn(async move { journal.append(append(entity(1), 0)).await });
    }
    let results = writers.join_all().await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert_eq!(journal.read(entity(1), 1, 100).unwrap().len(), 1);
}

#[tokio::test]
async fn a_record_beyond_the_bound_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let mut large = append(entity(1), 0);
    large.record = vec![0; record::RECORD_MAX + 1];
    assert_eq!(journal.append(large).await, Err(AppendError::TooLarge));
}

#[test]
fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _held = open(folder.path());
    let refused = Journal::<Note>::open(folder.path(), |_| {});
    assert!(matches!(refused, Err(OpenError::Locked(_))), "{:?}", refused.err());
}

async fn filled(folder: &Path, records: u64) {
    let journal = open(folder);
    for version in 0..records {
        journal.append(append(entity(1), version)).await.unwrap();
    }
    journal.close();
}

/// fjall's own journal file, in which the last commits lie.
fn newest_file(folder: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder.join("fjall")).unwrap().map(|e| e.unwrap().path());
    let mut journals: Vec<_> =
        files.filter(|p| p.extension().is_some_and(|e| e == "jnl")).collect();
    journals.sort();
    journals.pop().expect("fjall keeps a journal file")
}

/// The file's bytes without the zeros that fjall allocates ahead.
fn written(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}

#[tokio::test]
async fn a_torn_write_that_nobody_was_told_of_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 5).await;
    // a commit that was cut off: its bytes are incomplete, and the mark does not cover it
    let path = newest_file(folder.path());
    let mut bytes = written(&path);
    bytes.extend_from_slice(&bytes.clone()[..40]);
    std::fs::write(&path, &bytes).unwrap();
    let journal = open(folder.path());
    assert_eq!(journal.last_position().unwrap(), 5);
    journal.append(append(entity(1), 5)).await.unwrap();
}

#[tokio::test]
async fn a_journal_that_lost_what_was_acknowledged_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 5).await;
    let path = newest_file(folder.path());
    let bytes = written(&path);
    std::fs::write(&path, &bytes[..bytes.len() - 30]).unwrap();
    for _ in 0..2 {
        let refused = Journal::<Note>::open(folder.path(), |_| {}).err().expect("it is short");
        let text = refused.to_string();
        assert!(text.contains("missing") && text.contains("backup"), "{text}");
    }
}

#[tokio::test]
async fn a_damaged_journal_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 50).await;
    let path = newest_file(folder.path());
    let mut bytes = written(&path);
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 64] {
        *byte ^= 0x55;
    }
    std::fs::write(&path, &bytes).unwrap();
    let refused = Journal::<Note>::open(folder.path(), |_| {}).err().expect("it is damaged");
    assert!(refused.to_string().contains("backup"), "{refused}");
}

#[test]
fn chains_are_checked() {
    let first = record_of(entity(1), 1, [0; 16]);
    let second = record_of(entity(1), 2, record::hash(&first));
    let chain = vec![first.clone(), second.clone()];
    assert_eq!(check_chain(&chain, [0; 16], 0), Ok(record::hash(&second)));
    let swapped = vec![second.clone(), first.clone()];
    assert_eq!(check_chain(&swapped, [0; 16], 0), Err((0, BadRecord::Chain)));
    let forged = vec![record_of(entity(1), 1, [1; 16]), second];
    assert!(check_chain(&forged, [0; 16], 0).is_err());
    let mut flipped = chain;
    flipped[1][40] ^= 1;
    assert_eq!(check_chain(&flipped, [0; 16], 0), Err((1, BadRecord::Checksum)));
}
