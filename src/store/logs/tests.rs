//! Logs: bounded by attempt, found by case, whole after a cut.

use super::*;
use crate::domain::ids::Bits;

const LIMITS: Limits = Limits { keep: 1_000_000, bytes: 1 << 30 };

fn case(n: u8) -> CaseId {
    CaseId(Bits([n; 16]))
}

fn attempt(attempt: u32) -> Attempt {
    Attempt { task: TaskId(1), iteration: 1, attempt }
}

fn line(text: &str) -> Line {
    Line { at: Timestamp(5), stream: Stream::Err, line: text.to_owned() }
}

fn batch(of: u8, n: u32, lines: Vec<Line>) -> Batch {
    Batch { case: case(of), of: attempt(n), lines, progress: None, left_out: 0 }
}

fn texts(batches: &[Batch]) -> Vec<String> {
    batches.iter().flat_map(|batch| batch.lines.iter().map(|line| line.line.clone())).collect()
}

#[test]
fn lines_are_found_by_case_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs::open(folder.path(), LIMITS).unwrap();
    for n in 0..20 {
        logs.append(batch(n % 2, 1, vec![line(&format!("line {n}"))]), Timestamp(1));
    }
    let found = texts(&logs.read(case(1)).unwrap());
    assert_eq!(found.len(), 10);
    assert_eq!((&*found[0], &*found[9]), ("line 1", "line 19"));
    drop(logs);
    let logs = Logs::open(folder.path(), LIMITS).unwrap();
    assert_eq!(texts(&logs.read(case(1)).unwrap()), found);
}

#[test]
fn of_an_attempt_the_beginning_and_the_end_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs::open(folder.path(), LIMITS).unwrap();
    for n in 0..2000 {
        logs.append(batch(1, 1, vec![line(&format!("{n:06} {}", "x".repeat(993)))]), Timestamp(1));
    }
    let all = |logs: &Logs| {
        let batches = logs.read(case(1)).unwrap();
        let bytes: usize = texts(&batches).iter().map(|text| text.len() + 1).sum();
        let left_out: u64 = batches.iter().map(|batch| batch.left_out).sum();
        (texts(&batches), bytes, left_out)
    };
    let (under_way, ..) = all(&logs);
    logs.ended(case(1), attempt(1));
    let (lines, bytes, left_out) = all(&logs);
    assert_eq!(lines, under_way, "what is kept back is shown as well");
    assert!(bytes <= HEAD_MAX + TAIL_MAX && bytes > HEAD_MAX + TAIL_MAX - 5000, "{bytes}");
    assert_eq!(bytes as u64 + left_out, 2000 * 1001);
    assert!(lines[0].starts_with("000000") && lines[lines.len() - 1].starts_with("001999"));
    let long = "é".repeat(LINE_MAX);
    logs.append(batch(2, 1, vec![line(&long)]), Timestamp(1));
    let cut = &texts(&logs.read(case(2)).unwrap())[0];
    assert!(cut.len() <= LINE_MAX + '…'.len_utf8() && cut.ends_with('…'));
}

#[test]
fn a_torn_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs::open(folder.path(), LIMITS).unwrap();
    logs.append(batch(1, 1, vec![line("first")]), Timestamp(1));
    logs.append(batch(1, 1, vec![line("second")]), Timestamp(1));
    logs.close();
    drop(logs);
    let path = segment::all(folder.path()).unwrap().remove(0);
    let length = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length - 3).unwrap();
    let logs = Logs::open(folder.path(), LIMITS).unwrap();
    logs.append(batch(1, 1, vec![line("third")]), Timestamp(1));
    assert_eq!(texts(&logs.read(case(1)).unwrap()), ["first", "third"]);
}

#[test]
fn the_oldest_segments_go() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { keep: 1_000_000, bytes: 3 * segment::FULL };
    let logs = Logs::open(folder.path(), limits).unwrap();
    for n in 0..300u32 {
        let lines = vec![line(&"y".repeat(LINE_MAX)); 15];
        logs.append(batch((n % 250) as u8, n, lines), Timestamp(1));
        logs.ended(case((n % 250) as u8), attempt(n));
        if n % 20 == 0 {
            // the thread keeps up
            logs.read(case(0)).unwrap();
        }
    }
    for n in 300..900u32 {
        let lines = vec![line(&"y".repeat(LINE_MAX)); 15];
        logs.append(batch(251, n, lines), Timestamp(1));
        if n % 20 == 0 {
            logs.read(case(0)).unwrap();
        }
    }
    let segments = segment::all(folder.path()).unwrap();
    assert!((2..=5).contains(&segments.len()), "{segments:?}");
    assert!(logs.read(case(1)).unwrap().is_empty(), "the oldest are gone");
    assert!(logs.read(case(251)).unwrap().len() > 100);
}
