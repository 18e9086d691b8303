//! The only place that knows the bytes of the views' keys: a letter for the kind of row, then what
//! it is found by. Times that are listed newest first are stored as their complement.

use serde_json::Value as Json;

use crate::domain::case::event::WaitKind;
use crate::domain::case::phase::Phase;
use crate::domain::case::summary::{self, Summary};
use crate::domain::ids::{Bits, CaseId, DeadId};
use crate::domain::time::Timestamp;
use crate::domain::work::row::{JobAt, JobRow};
use crate::domain::workflow::model::{DefinitionId, TaskId};

pub const CASE: u8 = b'r';
pub const ALL: u8 = b'o';
pub const WORKFLOW: u8 = b'w';
pub const PHASE: u8 = b'p';
pub const STATUS: u8 = b's';
pub const SUBJECT: u8 = b'u';
pub const WAIT: u8 = b'k';
pub const WAIT_ON: u8 = b'x';
pub const AT_SERVICE: u8 = b'y';
pub const LINE: u8 = b'v';
pub const REPEATS: u8 = b'R';
pub const TIMER: u8 = b't';
pub const OWES: u8 = b'e';
pub const PENDING: u8 = b'q';
pub const LISTENER: u8 = b'l';
pub const SHAPE: u8 = b'h';
pub const PARENT: u8 = b'c';
pub const EVENT: u8 = b'E';
pub const EVENT_TYPE: u8 = b'T';
pub const EVENT_VALUE: u8 = b'V';
pub const EVENT_SUBJECT: u8 = b'J';
pub const OFFERED: u8 = b'f';
pub const WAKE: u8 = b'W';
pub const DEAD: u8 = b'd';
pub const DEAD_ALL: u8 = b'D';
/// Open dead letters, which are only counted.
pub const DEAD_OPEN: u8 = b'O';
pub const COUNT: u8 = b'N';
pub const CALLS: u8 = b'C';
pub const META: u8 = b'm';
pub const ASSIGNMENT: u8 = b'a';
pub const ASSIGNMENT_BY: u8 = b'A';
pub const AT_CSR: u8 = b'z';
pub const SEEKING: u8 = b'S';
/// Jobs in the line of their queue, those that are repeated, and those that a worker has.
pub const JOB: u8 = b'j';
pub const JOB_AGAIN: u8 = b'g';
pub const JOB_LEASED: u8 = b'b';
/// What became of the jobs of a queue, and what a worker did.
pub const QUEUE_COUNTS: u8 = b'Q';
pub const WORKER: u8 = b'X';
/// Cases by the documents that they refer to.
pub const DOCUMENT: u8 = b'F';
/// Jobs in the line by age.
pub const JOB_AGE: u8 = b'i';

/// A value as part of a key: the first half of its hash.
pub type Short = [u8; 8];

/// A text as part of a key.
pub fn short(parts: &[&[u8]]) -> Short {
    let bits = Bits::derived(parts);
    let mut short = [0; 8];
    short.copy_from_slice(&bits.0[..8]);
    short
}

/// Puts a key together.
pub fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|p| p.len()).sum::<usize>());
    key.push(kind);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// A row of a case alone.
pub fn of_case(kind: u8, case: CaseId) -> Vec<u8> {
    key(kind, &[&case.0.0])
}

/// The time as it sorts, oldest first.
pub fn time(at: Timestamp) -> [u8; 8] {
    at.0.max(0).to_be_bytes()
}

/// The time as it sorts, newest first.
pub fn newest_first(at: Timestamp) -> [u8; 8] {
    (!at.0.max(0)).to_be_bytes()
}

/// The case that a key ends with.
pub fn case_at_end(key: &[u8]) -> Option<CaseId> {
    let bits = key.last_chunk::<16>()?;
    Some(CaseId(Bits(*bits)))
}

/// The 8 bytes at a place of a key, as a number.
pub fn number_at(key: &[u8], place: usize) -> Option<u64> {
    let bytes = key.get(place..place + 8)?;
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// An index that lists of cases are read from, and what it was asked for.
pub fn workflow(workflow: &str) -> Vec<u8> {
    key(WORKFLOW, &[&short(&[workflow.as_bytes()])])
}

pub fn phase(phase: Phase) -> Vec<u8> {
    key(PHASE, &[&[phase as u8]])
}

pub fn status(status: &str) -> Vec<u8> {
    key(STATUS, &[&short(&[status.as_bytes()])])
}

pub fn subject(subject: &str) -> Vec<u8> {
    key(SUBJECT, &[&short(&[subject.as_bytes()])])
}

pub fn wait(kind: WaitKind) -> Vec<u8> {
    key(WAIT, &[&[kind as u8]])
}

pub fn wait_on(kind: WaitKind, on: &str) -> Vec<u8> {
    key(WAIT_ON, &[&[kind as u8], &short(&[on.as_bytes()])])
}

pub fn at_service(service: &str) -> Vec<u8> {
    key(AT_SERVICE, &[&short(&[service.as_bytes()])])
}

/// The line before a service: rank, since when, case.
pub fn line(service: &str) -> Vec<u8> {
    key(LINE, &[&short(&[service.as_bytes()])])
}

/// Cases whose calls to a service are repeated: since when, case.
pub fn repeats(service: &str) -> Vec<u8> {
    key(REPEATS, &[&short(&[service.as_bytes()])])
}

/// Cases in which a CSR has something to do.
pub fn at_csr(csr: &str) -> Vec<u8> {
    key(AT_CSR, &[&short(&[csr.as_bytes()])])
}

/// Cases that look for somebody with a skill: rank, due, since when, case.
pub fn seeking(skill: &str) -> Vec<u8> {
    key(SEEKING, &[&short(&[skill.as_bytes()])])
}

/// The line of a queue: place, case, job, queued at, losses.
pub fn jobs(queue: &str) -> Vec<u8> {
    key(JOB, &[&short(&[queue.as_bytes()])])
}

/// Jobs of a queue that have failed: from when on they are repeated, and the same.
pub fn jobs_again(queue: &str) -> Vec<u8> {
    key(JOB_AGAIN, &[&short(&[queue.as_bytes()])])
}

/// Jobs of a queue that workers have: case, job.
pub fn jobs_leased(queue: &str) -> Vec<u8> {
    key(JOB_LEASED, &[&short(&[queue.as_bytes()])])
}

/// Jobs of a queue that wait, the oldest first: queued at, priority, case, job.
pub fn jobs_by_age(queue: &str) -> Vec<u8> {
    key(JOB_AGE, &[&short(&[queue.as_bytes()])])
}

fn job_age(case: CaseId, row: &JobRow) -> Option<Vec<u8>> {
    let is_queued = matches!(row.at, JobAt::Queued { .. });
    let parts: [&[u8]; 4] =
        [&time(row.queued_at), &[row.priority], &case.0.0, &row.key.0.to_be_bytes()];
    is_queued.then(|| [&jobs_by_age(&row.queue)[..], &parts.concat()].concat())
}

fn job(case: CaseId, row: &JobRow) -> Vec<u8> {
    let id = [&case.0.0[..], &row.key.0.to_be_bytes()].concat();
    let waiting = || {
        let lost = u8::try_from(row.lost).unwrap_or(u8::MAX);
        [&time(row.place)[..], &id, &time(row.queued_at), &[lost]].concat()
    };
    match &row.at {
        JobAt::Queued { repeats: false, .. } => [jobs(&row.queue), waiting()].concat(),
        JobAt::Queued { from, .. } => {
            [&jobs_again(&row.queue)[..], &time(*from), &waiting()].concat()
        }
        JobAt::Leased(_) => [jobs_leased(&row.queue), id].concat(),
    }
}

/// What became of the jobs of a queue.
pub fn queue_counts(queue: &str) -> Vec<u8> {
    key(QUEUE_COUNTS, &[&short(&[queue.as_bytes()])])
}

/// What a worker did. Its name may be anything.
pub fn worker(name: &str) -> Vec<u8> {
    key(WORKER, &[&Bits::derived(&[name.as_bytes()]).0])
}

/// How calls to a service ended. Its name may be any host, of any length.
pub fn calls(service: &str) -> Vec<u8> {
    key(CALLS, &[&Bits::derived(&[service.as_bytes()]).0])
}

pub fn dead(id: DeadId) -> Vec<u8> {
    key(DEAD, &[&id.0.0])
}

/// Keys under which a case is found, all without values.
pub fn of_summary(summary: &Summary) -> Vec<Vec<u8>> {
    let case = &summary.id.0.0;
    let created = newest_first(summary.created_at);
    let listed = |mut prefix: Vec<u8>| {
        prefix.extend(created);
        prefix.extend(case);
        prefix
    };
    let mut keys = vec![
        listed(vec![ALL]),
        listed(workflow(&summary.definition.workflow())),
        listed(phase(summary.phase)),
    ];
    keys.extend(summary.status.as_deref().map(|s| listed(status(s))));
    keys.extend(summary.subject.as_deref().map(|s| listed(subject(s))));
    if let Some(shown) = &summary.wait {
        keys.push(listed(wait(shown.kind)));
        keys.extend(shown.on.as_deref().map(|on| listed(wait_on(shown.kind, on))));
    }
    for parked in &summary.parked {
        let at_service = listed(at_service(&parked.service));
        if !keys.contains(&at_service) {
            keys.push(at_service);
        }
        let mut place = line(&parked.service);
        place.push(9u8.saturating_sub(summary.priority));
        place.extend(time(parked.since));
        place.extend(case);
        keys.push(place);
    }
    for repeating in &summary.repeating {
        let at_service = listed(at_service(&repeating.service));
        if !keys.contains(&at_service) {
            keys.push(at_service);
        }
        let mut place = repeats(&repeating.service);
        place.extend(time(repeating.since));
        place.extend(case);
        keys.push(place);
    }
    keys.extend(summary.jobs.iter().map(|row| job(summary.id, row)));
    keys.extend(summary.jobs.iter().filter_map(|row| job_age(summary.id, row)));
    keys.extend(summary.documents.iter().map(|document| key(DOCUMENT, &[&document.0, case])));
    keys.extend(summary.csrs.iter().map(|csr| listed(at_csr(csr))));
    for sought in &summary.seeking {
        let mut place = seeking(&sought.skill);
        place.push(9u8.saturating_sub(summary.priority));
        place.extend(time(sought.due.unwrap_or(Timestamp::MAX)));
        place.extend(time(sought.since));
        place.extend(case);
        keys.push(place);
    }
    if summary.phase == Phase::Pending {
        let rank = [9u8.saturating_sub(summary.priority)];
        // what somebody asks for goes before what cases start, and children before their children
        let depth = summary.parent.as_ref().map_or(0, |parent| parent.depth.saturating_add(1));
        let depth = [depth];
        keys.push(key(PENDING, &[&rank, &depth, &time(summary.created_at), case]));
    }
    keys.extend(summary.due.map(|due| key(TIMER, &[&time(due), case])));
    if summary.owes {
        keys.push(key(OWES, &[case]));
    }
    keys.extend(listeners(summary));
    keys.extend(summary.children.iter().map(|child| key(PARENT, &[&child.0.0, case])));
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// A filter of a definition's listening task: every case that listens there has the same shape.
pub fn shape(definition: &DefinitionId, task: TaskId, filter: u16) -> Short {
    let name = definition.to_string();
    short(&[name.as_bytes(), &task.0.to_be_bytes(), &filter.to_be_bytes()])
}

/// The type of an event as part of a key; none: any type.
pub fn event_type(kind: Option<&str>) -> Short {
    kind.map_or([0; 8], |kind| short(&[kind.as_bytes()]))
}

/// What correlations found in an event, as part of a key; none: nothing in particular.
pub fn correlated(values: Option<&Json>) -> Short {
    values.map_or([0; 8], summary::correlated)
}

/// A listener: type, shape, values, case, task, iteration.
fn listeners(summary: &Summary) -> impl Iterator<Item = Vec<u8>> + '_ {
    summary.listening.iter().flat_map(move |listening| {
        let (task, iteration) = (listening.task, listening.iteration);
        listening.on.iter().map(move |on| {
            let parts: [&[u8]; 6] = [
                &event_type(on.event_type.as_deref()),
                &shape(&summary.definition, task, on.filter),
                &on.expected.unwrap_or_default(),
                &summary.id.0.0,
                &task.0.to_be_bytes(),
                &iteration.to_be_bytes(),
            ];
            key(LISTENER, &parts)
        })
    })
}

/// The prefix under which a key is counted, if its kind is.
pub fn counted(key: &[u8]) -> Option<&[u8]> {
    match key.first()? {
        &LINE | &REPEATS | &JOB | &JOB_AGAIN | &JOB_LEASED => key.get(..9),
        &PENDING => key.get(..1),
        _ => None,
    }
}

/// Up to where a case was offered events that it may listen for, by what it looks them up by.
pub fn offered(listener: &ListenerKey) -> Vec<u8> {
    let ListenerKey { event_type, shape, values, case } = listener;
    key(OFFERED, &[&case.0.0, event_type, shape, values])
}

/// The parts of a listener's key.
pub struct ListenerKey {
    pub event_type: Short,
    pub shape: Short,
    pub values: Short,
    pub case: CaseId,
}

/// Takes a listener's key apart.
pub fn listener_of(key: &[u8]) -> Option<ListenerKey> {
    let part = |place: usize| key.get(place..place + 8)?.try_into().ok();
    Some(ListenerKey {
        event_type: part(1)?,
        shape: part(9)?,
        values: part(17)?,
        case: CaseId(Bits(key.get(25..41)?.try_into().ok()?)),
    })
}
