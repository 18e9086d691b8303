//! What the embedded journal promises beside the contract: what its files look like after a crash.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{EmbeddedJournal, OpenError};
use crate::store::journal::suite::{World, append, entity, run};
use crate::store::journal::{Appended, Journal, RecordCursor};

type Embedded = EmbeddedJournal<Vec<u64>>;

fn open(folder: &Path) -> Embedded {
    EmbeddedJournal::open(folder, |error| panic!("{error}")).unwrap()
}

fn refused(folder: &Path) -> OpenError {
    let opened = Embedded::open(folder, |error| panic!("{error}"));
    opened.err().expect("it cannot be opened")
}

struct OnDisk(TempDir);

impl World for OnDisk {
    type Journal = Embedded;

    fn open(&self) -> Embedded {
        open(self.0.path())
    }

    async fn reopen(&self, old: Embedded) -> Embedded {
        old.close().await;
        drop(old);
        open(self.0.path())
    }
}

#[tokio::test]
async fn it_keeps_the_contract() {
    run(|| OnDisk(tempfile::tempdir().unwrap())).await;
}

#[test]
fn reads_do_not_hold_up_the_thread_that_asks() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        let journal = open(folder.path());
        // nothing that blocks is done before this ends: what is ready was done on this thread
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || waits.recv());
        let mut read = Box::pin(journal.read(entity(1), 1, 1));
        let mut last = Box::pin(journal.last(entity(1)));
        let mut tail = Box::pin(journal.tail(RecordCursor(0), 1));
        let mut end = Box::pin(journal.end());
        assert!(futures_util::poll!(&mut read).is_pending());
        assert!(futures_util::poll!(&mut last).is_pending());
        assert!(futures_util::poll!(&mut tail).is_pending());
        assert!(futures_util::poll!(&mut end).is_pending());
        go_on.send(()).unwrap();
        busy.await.unwrap().unwrap();
        assert!(read.await.unwrap().records.is_empty());
        assert!(last.await.unwrap().is_none());
        assert!(tail.await.unwrap().records.is_empty());
        end.await.unwrap();
    });
}

#[tokio::test]
async fn notes_of_an_entity_take_in_the_earlier_ones() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    for (n, behind) in [(1, 0), (2, 0), (1, 1)] {
        journal.append(append(&journal, entity(n), behind).await).await;
    }
    let taken = journal.notes().take().await;
    assert_eq!((taken.after, taken.through), (RecordCursor(0), RecordCursor(3)));
    let places: Vec<u64> = taken.items.iter().map(|one| one.at.0).collect();
    assert_eq!(places, [2, 3], "the first is part of the third, of the same entity");
}

#[test]
fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _held = open(folder.path());
    assert!(matches!(refused(folder.path()), OpenError::Locked(_)));
}

async fn filled(folder: &Path, records: u64) {
    let journal = open(folder);
    for behind in 0..records {
        let appended = journal.append(append(&journal, entity(1), behind).await).await;
        assert!(matches!(appended, Appended::Committed(_)), "{appended:?}");
    }
    journal.close().await;
}

async fn end(journal: &Embedded) -> u64 {
    journal.end().await.unwrap().0
}

/// fjall's own journal file, in which the last commits lie.
fn newest_file(folder: &Path) -> PathBuf {
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

fn copied_aside(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "torn")).count()
}

/// A journal of five records, and one commit of three behind them: the bytes of its file, where the
/// commit begins in them, and the mark from before it.
async fn with_a_commit_of_three(folder: &Path) -> (PathBuf, Vec<u8>, usize, Vec<u8>) {
    filled(folder, 5).await;
    let path = newest_file(folder);
    let begins = written(&path).len();
    let mark = std::fs::read(folder.join("mark")).unwrap();
    let journal = open(folder);
    let mut three = Vec::new();
    for n in 2..5 {
        let mut one = append(&journal, entity(n), 0).await;
        one.record = [&one.record[..], &[b' '; 3000][..]].concat().into();
        three.push(one);
    }
    assert!(matches!(journal.append_all_or_none(three).await, Appended::Committed(_)));
    journal.close().await;
    drop(journal);
    let bytes = written(&path);
    (path, bytes, begins, mark)
}

#[tokio::test]
async fn a_commit_cut_at_any_byte_is_there_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes, begins, mark) = with_a_commit_of_three(folder.path()).await;
    // what nobody was told of
    let cuts = (begins..bytes.len()).step_by(911).chain([bytes.len() - 1]);
    for cut in cuts {
        std::fs::write(folder.path().join("mark"), &mark).unwrap();
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let journal = open(folder.path());
        assert_eq!(end(&journal).await, 5, "cut at {cut}");
        for n in 2..5 {
            assert_eq!(journal.last(entity(n)).await.unwrap(), None);
        }
        journal.close().await;
    }
}

#[tokio::test]
async fn a_commit_with_a_hole_that_nobody_was_told_of_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes, begins, mark) = with_a_commit_of_three(folder.path()).await;
    let mut aside = 0;
    for hole in (begins..bytes.len()).step_by(1024) {
        let mut torn = bytes.clone();
        let until = torn.len().min(hole + 512);
        torn[hole..until].fill(0);
        std::fs::write(folder.path().join("mark"), &mark).unwrap();
        std::fs::write(&path, &torn).unwrap();
        let journal = open(folder.path());
        assert_eq!(end(&journal).await, 5, "hole at {hole}");
        let next = append(&journal, entity(1), 5).await;
        assert!(matches!(journal.append(next).await, Appended::Committed(_)));
        journal.close().await;
        drop(journal);
        let again = open(folder.path());
        assert_eq!(end(&again).await, 6);
        again.close().await;
        aside = aside.max(copied_aside(folder.path()));
    }
    assert!(aside > 0, "fjall took every hole for the end");
}

#[tokio::test]
async fn so_is_one_that_was_the_first_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes, begins, mark) = with_a_commit_of_three(folder.path()).await;
    let promised = std::fs::read(folder.path().join("mark")).unwrap();
    let mut torn = bytes[begins..].to_vec();
    torn[1500..2000].fill(0);
    let number: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let next = path.with_file_name(format!("{}.jnl", number + 1));
    for (mark, kept) in [(&promised, false), (&mark, true)] {
        std::fs::write(folder.path().join("mark"), mark).unwrap();
        std::fs::write(&path, &bytes[..begins]).unwrap();
        std::fs::write(&next, &torn).unwrap();
        if !kept {
            for _ in 0..2 {
                let text = refused(folder.path()).to_string();
                assert!(text.contains("3 records are missing"), "{text}");
                assert_eq!(written(&next), torn, "it is left as it was");
                assert_eq!(copied_aside(folder.path()), 0);
            }
            continue;
        }
        let journal = open(folder.path());
        assert_eq!(end(&journal).await, 5);
        let next = append(&journal, entity(1), 5).await;
        assert!(matches!(journal.append(next).await, Appended::Committed(_)));
        journal.close().await;
    }
    assert!(copied_aside(folder.path()) > 0);
}

#[tokio::test]
async fn a_hole_in_what_was_promised_stops_every_start() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes, begins, _) = with_a_commit_of_three(folder.path()).await;
    let mut torn = bytes.clone();
    torn[begins + 1500..begins + 2000].fill(0);
    std::fs::write(&path, &torn).unwrap();
    for _ in 0..2 {
        let text = refused(folder.path()).to_string();
        assert!(text.contains("3 records are missing") && text.contains("backup"), "{text}");
        assert_eq!(written(&path), torn, "it is left as it was");
        assert_eq!(copied_aside(folder.path()), 0);
    }
}

#[tokio::test]
async fn a_journal_that_lost_what_was_acknowledged_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 5).await;
    let path = newest_file(folder.path());
    let bytes = written(&path);
    std::fs::write(&path, &bytes[..bytes.len() - 30]).unwrap();
    for _ in 0..2 {
        let text = refused(folder.path()).to_string();
        assert!(text.contains("missing") && text.contains("backup"), "{text}");
    }
}

#[tokio::test]
async fn another_journal_than_the_one_that_was_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 3).await;
    let other = tempfile::tempdir().unwrap();
    let journal = open(other.path());
    for n in 2..8 {
        journal.append(append(&journal, entity(n), 0).await).await;
    }
    journal.close().await;
    drop(journal);
    std::fs::copy(folder.path().join("mark"), other.path().join("mark")).unwrap();
    let text = refused(other.path()).to_string();
    assert!(text.contains("another record at position 3") && text.contains("mark"), "{text}");
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
    let text = refused(folder.path()).to_string();
    assert!(text.contains("backup"), "{text}");
}

#[tokio::test]
async fn damage_before_what_was_written_later_is_no_torn_end() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes, begins, mark) = with_a_commit_of_three(folder.path()).await;
    let journal = open(folder.path());
    let next = append(&journal, entity(1), 5).await;
    assert!(matches!(journal.append(next).await, Appended::Committed(_)));
    journal.close().await;
    drop(journal);
    // as after a power cut that took the last writes of the mark, which nobody syncs
    std::fs::write(folder.path().join("mark"), &mark).unwrap();
    let mut damaged = written(&path);
    assert!(damaged.len() > bytes.len());
    damaged[begins + 1500] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    for _ in 0..2 {
        assert!(matches!(refused(folder.path()), OpenError::Damaged { .. }));
        assert_eq!(written(&path), damaged, "it is left as it was");
        assert_eq!(copied_aside(folder.path()), 0);
    }
}

#[tokio::test]
async fn without_a_mark_nothing_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes, begins, _) = with_a_commit_of_three(folder.path()).await;
    let mut torn = bytes.clone();
    torn[begins + 1500..begins + 2000].fill(0);
    std::fs::write(&path, &torn).unwrap();
    std::fs::remove_file(folder.path().join("mark")).unwrap();
    assert!(matches!(refused(folder.path()), OpenError::Damaged { .. }));
    assert_eq!(written(&path), torn, "it is left as it was");
}
