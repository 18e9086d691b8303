//! An append whose outcome is unknown is repeated as it was, until it is known: nothing is decided,
//! answered or acted upon before.

use std::time::Duration;

use bytes::Bytes;

use super::{Append, Appended, Journal, Page, Refused};
use crate::store::record;

/// Between two tries at first; each wait is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(50);

/// Between two tries at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is said where it was left open.
pub const LEFT_OPEN: &str = "the process ended before it was known whether it was stored";

/// What an append came to in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled<F> {
    Committed(F),
    Conflict,
    Refused(Refused),
    /// The journal was closed before it was known.
    LeftOpen,
}

/// Appends a record, again and again until it is known what became of it. A conflict after an unknown
/// outcome may be one with ourselves: the record that lies there decides.
pub async fn append_until_known<J: Journal>(
    journal: &J,
    append: Append<J::Fence, J::Note>,
) -> Settled<J::Fence> {
    let (entity, first, fence) = (append.entity, append.first, append.fence.clone());
    let record = append.record.clone();
    match journal.append(append).await {
        Appended::Committed(fence) => return Settled::Committed(fence),
        Appended::Conflict => return Settled::Conflict,
        Appended::Refused(refused) => return Settled::Refused(refused),
        Appended::Unknown => {}
    }
    tracing::warn!(
        ?entity,
        first,
        "it is not known whether a record was stored; it is tried again"
    );
    let mut pause = PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
        let (fence, record) = (fence.clone(), record.clone());
        // without a note: whoever keeps the views folds it
        let again = Append { entity, fence, first, record: record.clone(), note: None };
        match journal.append(again).await {
            Appended::Committed(fence) => return Settled::Committed(fence),
            Appended::Refused(Refused::Closed) => return Settled::LeftOpen,
            Appended::Refused(refused) => return Settled::Refused(refused),
            Appended::Unknown => {}
            Appended::Conflict => match journal.read(entity, first, 1).await {
                Ok(page) => return who_was_first(page, &record),
                Err(error) => tracing::warn!(%error, "what lies there instead cannot be read"),
            },
        }
    }
}

fn who_was_first<F>(page: Page<F>, ours: &Bytes) -> Settled<F> {
    let there = page.records.first().map(|bytes| record::hash(bytes));
    match page.fence {
        Some(fence) if there == Some(record::hash(ours)) => Settled::Committed(fence),
        _ => Settled::Conflict,
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Memory, Trouble};
    use super::super::suite::{append, entity};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_stored_without_an_answer_is_ours() {
        for lost in [Trouble::AnswerLost, Trouble::NotStored] {
            let journal = Memory::default();
            journal.trouble([lost, lost, lost]);
            let settled = append_until_known(&journal, append(&journal, entity(1), 0).await).await;
            assert!(matches!(settled, Settled::Committed(_)), "{lost:?}: {settled:?}");
            assert_eq!(journal.read(entity(1), 1, 10).await.unwrap().records.len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_elses_record_is_a_conflict() {
        let journal = Memory::default();
        let mut ours = append(&journal, entity(1), 0).await;
        ours.record = [&ours.record[..], b" "].concat().into();
        journal.trouble([Trouble::NotStored]);
        let (settled, theirs) = tokio::join!(append_until_known(&journal, ours), async {
            journal.append(append(&journal, entity(1), 0).await).await
        });
        assert!(matches!(theirs, Appended::Committed(_)), "{theirs:?}");
        assert_eq!(settled, Settled::Conflict);
    }

    #[tokio::test(start_paused = true)]
    async fn a_journal_that_closes_leaves_it_open() {
        let journal = Memory::default();
        let ours = append(&journal, entity(1), 0).await;
        journal.trouble([Trouble::NotStored]);
        let (settled, ()) = tokio::join!(append_until_known(&journal, ours), journal.close());
        assert_eq!(settled, Settled::LeftOpen);
    }
}
