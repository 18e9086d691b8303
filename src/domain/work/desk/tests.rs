//! What a desk gives out comes back, whatever becomes of it meanwhile.

mod books;

use std::sync::Arc;

use super::Desk;
use crate::domain::ids::{Bits, CaseId};
use crate::domain::time::Timestamp;
use crate::domain::work::job::JobKey;
use crate::domain::work::queue::{Said, Settings};
use crate::domain::work::row::{JobAt, JobRow};
use crate::domain::work::worker::Workers;
use crate::domain::workflow::model::TaskId;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn row(lost: u32) -> JobRow {
    JobRow {
        key: JobKey::of("/do/0/a", 1, 0),
        queue: "q".into(),
        task: TaskId(0),
        iteration: 1,
        attempt: 0,
        place: NOW,
        priority: 5,
        queued_at: NOW,
        lost,
        at: JobAt::Queued { from: NOW, repeats: false },
    }
}

#[test]
fn a_worker_is_free_again_when_its_job_went_before_it_was_leased() {
    let case = CaseId(Bits([1; 16]));
    for lost in [0, 2] {
        let (mut desk, mut workers) =
            (Desk::new(Settings::default(), Said::default()), Workers::default());
        desk.is_ready();
        // the index is empty
        let (line, repeats) = desk.reads();
        desk.line_up(line, Vec::new(), true, NOW);
        desk.repeat(repeats, Vec::new(), true, NOW);
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        desk.committed(case, &row(lost), &mut workers, NOW);
        let taken = desk.take(&one, 1, &mut workers, NOW);
        assert_eq!(taken.len(), 1);
        // its case is cancelled, or puts it into the line anew, before the lease is answered
        match lost {
            0 => desk.gone(taken[0].id, &mut workers, NOW),
            _ => desk.committed(case, &row(lost), &mut workers, NOW),
        }
        assert!(!workers.holds_any(&one) && !workers.is_alone(&one));
        // what comes late for the first does not concern the second
        let again = desk.take(&other, 1, &mut workers, NOW);
        desk.refused(taken[0].id, &one, &mut workers, NOW);
        assert_eq!(workers.holds_any(&other), !again.is_empty());
    }
}
