//! What every journal has to pass. An implementation gives a `World`, which opens it, ends it without
//! a word and opens it again.

use std::collections::HashMap;

use super::{Append, Appended, Journal, RecordCursor, Refused};
use crate::domain::ids::{Bits, Entity, EntityKind, EventCursor};
use crate::domain::time::Timestamp;
use crate::store::record::{self, By, Header, RECORD_MAX, SCHEMA};

/// A journal that can be opened again.
pub trait World {
    type Journal: Journal<Note = Vec<u64>>;

    fn open(&self) -> Self::Journal;

    /// Opens it again after the process that had it is gone.
    fn reopen(&self, old: Self::Journal) -> impl Future<Output = Self::Journal>;
}

/// Runs everything, each on a world of its own.
pub async fn run<W: World>(world: impl Fn() -> W) {
    order_without_gaps(&world()).await;
    one_of_two_equal_fences_wins(&world()).await;
    a_fence_outlives_the_process(&world()).await;
    all_or_none(&world()).await;
    the_tail_is_everything_once(&world()).await;
    events_are_told_apart(&world()).await;
    too_large_stores_nothing(&world()).await;
    a_dropped_future_neither_loses_nor_doubles(&world()).await;
    close_during_appends(&world()).await;
}

/// A case.
pub fn entity(n: u8) -> Entity {
    Entity { kind: EntityKind::Case, bits: Bits([n; 16]) }
}

/// A whole record.
pub fn record_of(of: Entity, version: u64) -> Vec<u8> {
    let header = Header {
        schema: SCHEMA,
        entity: of,
        version,
        count: 1,
        at: Timestamp(1),
        previous: [0; 16],
        command: None,
        by: By::engine(),
    };
    record::encode(&header, br#"[["unwound"]]"#)
}

/// An append of one event behind so many.
pub async fn append<J: Journal<Note = Vec<u64>>>(
    journal: &J,
    of: Entity,
    behind: u64,
) -> Append<J::Fence, Vec<u64>> {
    let fence = match behind {
        0 => None,
        _ => journal.read(of, behind, 1).await.expect("a read").fence,
    };
    let first = behind + 1;
    Append {
        entity: of,
        fence,
        first,
        record: record_of(of, first).into(),
        note: Some(vec![first]),
    }
}

async fn append_all<J: Journal<Note = Vec<u64>>>(journal: &J, of: Entity, versions: u64) {
    for behind in 0..versions {
        let appended = journal.append(append(journal, of, behind).await).await;
        assert!(matches!(appended, Appended::Committed(_)), "{appended:?}");
    }
}

async fn versions<J: Journal>(journal: &J, of: Entity) -> Vec<u64> {
    let page = journal.read(of, 1, 1000).await.expect("a read");
    assert!(page.all);
    let version = |bytes: &Vec<u8>| record::decode(bytes).expect("a record").0.version;
    page.records.iter().map(version).collect()
}

async fn order_without_gaps<W: World>(world: &W) {
    let journal = world.open();
    append_all(&journal, entity(1), 3).await;
    append_all(&journal, entity(2), 2).await;
    // each is there as soon as it was answered
    assert_eq!(versions(&journal, entity(1)).await, [1, 2, 3]);
    assert_eq!(versions(&journal, entity(2)).await, [1, 2]);
    let page = journal.read(entity(1), 2, 1).await.expect("a read");
    assert_eq!((page.records.len(), page.all), (1, false));
    let page = journal.read(entity(1), 3, 1).await.expect("a read");
    assert!(page.all);
    let holding = journal.holding(entity(1), 2).await.expect("a read").expect("a record");
    assert_eq!(record::decode(&holding).expect("a record").0.version, 2);
    assert_eq!(journal.holding(entity(9), 2).await.expect("a read"), None);
    let last = journal.last(entity(1)).await.expect("a read").expect("a record");
    assert_eq!((&last.record, Some(last.fence)), (&page.records[0], page.fence));
    assert_eq!(journal.last(entity(9)).await.expect("a read"), None);
    assert_eq!(journal.entities(EntityKind::Case).await.expect("a read").len(), 2);
}

async fn one_of_two_equal_fences_wins<W: World>(world: &W) {
    let journal = world.open();
    for behind in 0..2 {
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (journal, append) = (journal.clone(), append(&journal, entity(1), behind).await);
            writers.spawn(async move { journal.append(append).await });
        }
        let answers = writers.join_all().await;
        let won = answers.iter().filter(|a| matches!(a, Appended::Committed(_))).count();
        let lost = answers.iter().filter(|a| matches!(a, Appended::Conflict)).count();
        assert_eq!((won, lost), (1, 63));
    }
    assert_eq!(versions(&journal, entity(1)).await, [1, 2]);
}

async fn a_fence_outlives_the_process<W: World>(world: &W) {
    let journal = world.open();
    append_all(&journal, entity(1), 2).await;
    let old = append(&journal, entity(1), 1).await;
    let next = append(&journal, entity(1), 2).await;
    let journal = world.reopen(journal).await;
    let first = append(&journal, entity(1), 0).await;
    assert_eq!(journal.append(first).await, Appended::Conflict);
    assert_eq!(journal.append(old).await, Appended::Conflict);
    assert!(matches!(journal.append(next).await, Appended::Committed(_)));
    assert_eq!(versions(&journal, entity(1)).await, [1, 2, 3]);
}

async fn all_or_none<W: World>(world: &W) {
    let journal = world.open();
    append_all(&journal, entity(2), 1).await;
    let three = |journal: W::Journal, from: u8| async move {
        let mut all = Vec::new();
        for n in from..from + 3 {
            all.push(append(&journal, entity(n), 0).await);
        }
        all
    };
    let with_taken = three(journal.clone(), 1).await;
    assert_eq!(journal.append_all_or_none(with_taken).await, Appended::Conflict);
    assert!(versions(&journal, entity(1)).await.is_empty());
    let free = three(journal.clone(), 3).await;
    let Appended::Committed(fences) = journal.append_all_or_none(free).await else {
        panic!("all of them are free")
    };
    assert_eq!(fences.len(), 3);
    let mut large = three(journal.clone(), 6).await;
    large[1].record = vec![0; RECORD_MAX + 1].into();
    let refused = journal.append_all_or_none(large).await;
    assert_eq!(refused, Appended::Refused(Refused::TooLarge));
    let one = append(&journal, entity(7), 0).await;
    let twice = journal.append_all_or_none(vec![one.clone(), one]).await;
    assert_eq!(twice, Appended::Conflict);
    assert!(versions(&journal, entity(7)).await.is_empty());
}

async fn the_tail_is_everything_once<W: World>(world: &W) {
    let journal = world.open();
    let begun = journal.end().await.expect("an end");
    append_all(&journal, entity(1), 5).await;
    append_all(&journal, entity(2), 5).await;
    let journal = world.reopen(journal).await;
    append_all(&journal, entity(3), 5).await;
    let mut seen: HashMap<Entity, Vec<u64>> = HashMap::new();
    let mut after = begun;
    let mut middle = RecordCursor::default();
    loop {
        let tail = journal.tail(after, 4).await.expect("a tail");
        assert!(tail.lost.is_empty());
        for (at, bytes) in &tail.records {
            assert!(*at > after && *at <= tail.next);
            let (header, _) = record::decode(bytes).expect("a record");
            seen.entry(header.entity).or_default().push(header.version);
        }
        after = tail.next;
        if seen.len() == 1 {
            middle = after;
        }
        if tail.all {
            break;
        }
    }
    assert_eq!(after, journal.end().await.expect("an end"));
    assert_eq!(seen.len(), 3);
    assert!(seen.values().all(|versions| *versions == [1, 2, 3, 4, 5]), "{seen:?}");
    // a place that was kept is good after another start
    let rest = journal.tail(middle, 100).await.expect("a tail");
    let journal = world.reopen(journal).await;
    assert_eq!(journal.tail(middle, 100).await.expect("a tail"), rest);
    assert_eq!(journal.notes().try_take().map(|taken| taken.items.len()), None);
}

async fn events_are_told_apart<W: World>(world: &W) {
    let journal = world.open();
    let event = |n: u8| Entity { kind: EntityKind::CloudEvent, bits: Bits([n; 16]) };
    append_all(&journal, event(1), 1).await;
    append_all(&journal, entity(1), 5).await;
    append_all(&journal, event(2), 1).await;
    let (mut places, mut after) = (Vec::new(), EventCursor::default());
    loop {
        let tail = journal.events(after, 2).await.expect("a tail");
        places.extend(tail.records.iter().map(|(at, _)| *at));
        after = tail.next;
        if tail.all {
            break;
        }
    }
    let [first, second] = places[..] else { panic!("{places:?}") };
    for (place, n) in [(first, 1), (second, 2)] {
        let one = journal.events(place.before(), 1).await.expect("a tail").records;
        assert_eq!(one, [(place, record_of(event(n), 1))]);
    }
}

async fn too_large_stores_nothing<W: World>(world: &W) {
    let journal = world.open();
    let mut large = append(&journal, entity(1), 0).await;
    large.record = vec![0; RECORD_MAX + 1].into();
    assert_eq!(journal.append(large).await, Appended::Refused(Refused::TooLarge));
    append_all(&journal, entity(1), 1).await;
}

async fn a_dropped_future_neither_loses_nor_doubles<W: World>(world: &W) {
    let journal = world.open();
    for n in 1..=20 {
        let one = append(&journal, entity(n), 0).await;
        {
            let mut appending = Box::pin(journal.append(one.clone()));
            let _ = futures_util::poll!(&mut appending);
        }
        let again = journal.append(one).await;
        assert!(matches!(again, Appended::Committed(_) | Appended::Conflict), "{again:?}");
        assert_eq!(versions(&journal, entity(n)).await, [1]);
    }
}

async fn close_during_appends<W: World>(world: &W) {
    let journal = world.open();
    let mut writers = tokio::task::JoinSet::new();
    for n in 1..=50 {
        let (journal, one) = (journal.clone(), append(&journal, entity(n), 0).await);
        writers.spawn(async move { (n, journal.append(one).await) });
    }
    journal.close().await;
    let answers = writers.join_all().await;
    let journal = world.reopen(journal).await;
    for (n, answer) in answers {
        let there = versions(&journal, entity(n)).await.len();
        let expected = match answer {
            Appended::Committed(_) => 1,
            Appended::Refused(Refused::Closed) => 0,
            other => panic!("{other:?}"),
        };
        assert_eq!(there, expected, "{n}");
    }
}
