//! Jobs: queued, leased, done, failed, lost, given back, expired, purged; held and left.

use serde_json::json;

use super::world;
use super::world::{START, World};
use crate::domain::case::command::{Command, Rejection};
use crate::domain::case::event::WaitKind;
use crate::domain::case::job::{self, JobAct, JobConflict, JobOutcome};
use crate::domain::case::phase::Phase;
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::ids::{Bits, LeaseDigest};
use crate::domain::work::lease::Leasing;
use crate::domain::work::row::{JobAt, JobRow};

const SCORE: &str = "do: [{score: {call: work, with: {queue: scoring, input: {n: '${ .n }'}}}}]";

pub(super) fn queued(body: &str) -> World {
    let mut world = world(body);
    world.start(json!({"n": 7}));
    world
}

pub(super) fn the_job(world: &World) -> JobRow {
    let rows = job::rows(world.state());
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].clone()
}

fn digest(n: u8) -> LeaseDigest {
    LeaseDigest(Bits([n; 16]))
}

pub(super) fn lease(world: &mut World, n: u8) -> Result<(), Rejection> {
    let key = the_job(world).key;
    let (worker, digest) = ("w1".into(), digest(n));
    let leasing = Leasing { worker, host: None, millis: None, of_queue: 60_000, digest };
    world.try_tell(Command::Job { key, act: Box::new(JobAct::Lease(leasing)) })
}

pub(super) fn end(
    world: &mut World,
    job: &JobRow,
    n: u8,
    outcome: JobOutcome,
) -> Result<(), Rejection> {
    let act = Box::new(JobAct::End { digest: digest(n), outcome });
    world.try_tell(Command::Job { key: job.key, act })
}

fn failed(retryable: bool) -> JobOutcome {
    let error = Problem::new(Standard::Runtime, "no such model").with_status(418);
    JobOutcome::Failed { error, retryable, retry_after: None }
}

pub(super) fn lost() -> JobOutcome {
    JobOutcome::Lost("it ran out".into())
}

fn done() -> JobOutcome {
    JobOutcome::Done { output: json!({"score": 80}).into(), documents: Vec::new() }
}

fn refused(conflict: JobConflict) -> Result<(), Rejection> {
    Err(Rejection::Job(conflict))
}

#[test]
fn a_job_waits_in_its_queue_and_runs_in_a_workers_hands() {
    let mut world = queued(SCORE);
    assert_eq!(world.phase(), Phase::Waiting);
    let wait = world.shown_wait().unwrap();
    assert_eq!((wait.kind, wait.on.as_deref()), (WaitKind::Job, Some("queue:scoring")));
    let row = the_job(&world);
    assert_eq!(row.place, START.plus(4 * 600_000), "priority 5 counts as four times aging");
    assert!(!crate::domain::case::derive::owes(world.state()));

    lease(&mut world, 1).unwrap();
    assert_eq!(world.phase(), Phase::Running);
    assert!(crate::domain::case::derive::rests(world.state()), "it needs no place in memory");
    let given = world.given.pop().unwrap();
    assert_eq!((*given.input).clone(), json!({"n": 7}));
    assert_eq!((given.attempt, given.lost, given.lease_millis), (1, 0, 60_000));
    assert!(given.key.ends_with("/do/0/score/1"));
    assert_eq!(lease(&mut world, 2), refused(JobConflict::NotQueued));

    // a crash loses no lease
    let length = world.history.len();
    let mut world = world.replayed(length);
    world.tell(Command::Recover);
    assert!(matches!(the_job(&world).at, JobAt::Leased(_)));
    end(&mut world, &row, 1, done()).unwrap();
    assert_eq!(world.output(), json!({"score": 80}));
    assert_eq!(end(&mut world, &row, 1, done()), refused(JobConflict::Over));
}

#[test]
fn a_lost_lease_goes_on_to_the_next_at_its_old_place() {
    let mut world = queued(SCORE);
    let row = the_job(&world);
    lease(&mut world, 1).unwrap();
    world.pass(60_000);
    end(&mut world, &row, 1, lost()).unwrap();
    let again = the_job(&world);
    assert_eq!((again.place, again.lost), (row.place, 1));
    assert_eq!(end(&mut world, &row, 1, done()), refused(JobConflict::LeaseLost));
    lease(&mut world, 2).unwrap();
    assert_eq!(world.given.last().unwrap().lost, 1);
    assert_eq!(end(&mut world, &row, 1, done()), refused(JobConflict::LeaseLost));
    end(&mut world, &row, 2, done()).unwrap();
    assert_eq!(end(&mut world, &row, 1, done()), refused(JobConflict::LeaseLost));
}

#[test]
fn what_kills_three_workers_is_a_persons_whatever_would_catch_it() {
    let body = "do: [{t: {try: [{score: {call: work, with: {queue: scoring}}}], catch: {do: [{x: {set: {n: 1}}}]}}}]";
    let mut world = queued(body);
    let row = the_job(&world);
    for n in 1..=3 {
        lease(&mut world, n).unwrap();
        end(&mut world, &row, n, lost()).unwrap();
    }
    assert_eq!(world.phase(), Phase::Suspended);
    assert_eq!(&*world.state().alert.as_ref().unwrap().cause, "poison");
    assert!(job::rows(world.state()).is_empty());
    let reason = "mended".to_owned();
    world.tell(Command::Retry { reason, task: None, outcome: None, output: None });
    let again = the_job(&world);
    assert_eq!((again.lost, again.key), (0, row.key), "it counts anew, and is the same job");
    lease(&mut world, 4).unwrap();
    end(&mut world, &row, 4, done()).unwrap();
    assert_eq!(world.phase(), Phase::Completed);
}

#[test]
fn what_fails_is_tried_again_after_a_while_and_then_an_error() {
    let mut world = queued("do: [{score: {call: work, with: {queue: scoring, attempts: 3}}}]");
    let row = the_job(&world);
    for (n, pause) in [(1, 500..=1000), (2, 1000..=2000)] {
        lease(&mut world, n).unwrap();
        end(&mut world, &row, n, failed(true)).unwrap();
        let JobAt::Queued { from, repeats } = the_job(&world).at else { panic!("it is queued") };
        assert!(repeats && pause.contains(&from.since(world.now)), "{}", from.since(world.now));
        assert_eq!(lease(&mut world, 9), refused(JobConflict::NotQueued));
        world.now = from;
    }
    lease(&mut world, 3).unwrap();
    end(&mut world, &row, 3, failed(true)).unwrap();
    assert_eq!(world.phase(), Phase::Faulted);
    let error = world.error();
    assert_eq!((error.status, error.instance.as_deref()), (418, Some("/do/0/score")));
}

#[test]
fn what_fails_for_good_is_an_error_at_once() {
    let mut world = queued(SCORE);
    let row = the_job(&world);
    lease(&mut world, 1).unwrap();
    end(&mut world, &row, 1, failed(false)).unwrap();
    assert_eq!(world.phase(), Phase::Faulted);
}

#[test]
fn what_is_given_back_counts_for_nothing() {
    let mut world = queued(SCORE);
    let row = the_job(&world);
    for n in 1..20 {
        lease(&mut world, n).unwrap();
        end(&mut world, &row, n, JobOutcome::Released).unwrap();
    }
    let again = the_job(&world);
    assert_eq!((again.lost, again.place), (0, row.place));
    assert!(matches!(again.at, JobAt::Queued { repeats: false, .. }));
}

#[test]
fn time_to_live_counts_until_a_lease_and_is_looked_at_again() {
    let body = "do: [{score: {call: work, with: {queue: scoring, ttl: PT1M}}}]";
    let mut world = queued(body);
    world.pass(60_000);
    let error = world.error();
    assert_eq!((error.status, error.title.as_deref()), (408, Some("Expired")));

    let mut world = queued(body);
    let row = the_job(&world);
    lease(&mut world, 1).unwrap();
    world.pass(3_600_000);
    assert_eq!(world.phase(), Phase::Running, "what is leased has time");
    end(&mut world, &row, 1, lost()).unwrap();
    assert_eq!(world.error().title.as_deref(), Some("Expired"));
}

#[test]
fn a_tasks_timeout_stands_in_the_queue_and_counts_in_a_workers_hands() {
    let body = "do: [{score: {call: work, with: {queue: scoring}, timeout: {after: PT10S}}}]";
    let mut world = queued(body);
    world.pass(3_600_000);
    let row = the_job(&world);
    lease(&mut world, 1).unwrap();
    world.pass_to_next();
    assert_eq!(world.error().status, 408);
    assert_eq!(end(&mut world, &row, 1, done()), refused(JobConflict::Over));
}

#[test]
fn a_held_case_leases_nothing_and_takes_what_is_on_its_way() {
    let mut world = queued(SCORE);
    let row = the_job(&world);
    world.tell(Command::Suspend { reason: "wait".into() });
    assert!(job::rows(world.state()).is_empty());
    world.tell(Command::Resume { reason: "go".into() });
    assert_eq!(the_job(&world).place, row.place);
    lease(&mut world, 1).unwrap();
    world.tell(Command::Suspend { reason: "wait".into() });
    assert!(matches!(the_job(&world).at, JobAt::Leased(_)));
    end(&mut world, &row, 1, done()).unwrap();
    assert_eq!(world.phase(), Phase::Suspended);
    world.tell(Command::Resume { reason: "go".into() });
    assert_eq!(world.output(), json!({"score": 80}));
}

#[test]
fn a_cancelled_case_waits_for_a_result_only_where_it_can_undo_it() {
    for (body, awaited) in [
        (SCORE.to_owned(), false),
        (
            "do: [{score: {call: work, with: {queue: scoring}, metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://bob/x'}}}}}]".to_owned(),
            true,
        ),
    ] {
        let mut world = queued(&body);
        world.tell(Command::Cancel { reason: "no".into() });
        assert_eq!(world.phase(), Phase::Cancelled, "what is queued is gone at once");
        let mut world = queued(&body);
        let row = the_job(&world);
        lease(&mut world, 1).unwrap();
        world.tell(Command::Cancel { reason: "no".into() });
        assert_eq!(world.phase() != Phase::Cancelled, awaited);
        let said = end(&mut world, &row, 1, done());
        match awaited {
            true => {
                said.unwrap();
                world.answer_next(world::done(json!({})));
                assert_eq!(world.phase(), Phase::Cancelled);
            }
            false => assert_eq!(said, refused(JobConflict::Over)),
        }
    }
}

#[test]
fn what_was_purged_is_a_persons() {
    let mut world = queued(SCORE);
    let row = the_job(&world);
    let before = world.now.plus(1);
    world.ctx.purged = Some(before);
    assert_eq!(lease(&mut world, 1), refused(JobConflict::NotQueued));
    let act = Box::new(JobAct::Purge { before });
    world.tell(Command::Job { key: row.key, act });
    assert_eq!(world.phase(), Phase::Suspended);
    assert_eq!(&*world.state().alert.as_ref().unwrap().cause, "purged");
    world.now = world.now.plus(2);
    let reason = "after all".to_owned();
    world.tell(Command::Retry { reason, task: None, outcome: None, output: None });
    lease(&mut world, 2).unwrap();
}

#[test]
fn jobs_of_one_case_stand_a_second_apart() {
    let branch = |n: u8| format!("{{b{n}: {{call: work, with: {{queue: scoring}}}}}}");
    let branches: Vec<String> = (0..4).map(branch).collect();
    let body = format!("do: [{{all: {{fork: {{branches: [{}]}}}}}}]", branches.join(", "));
    let world = queued(&body);
    let mut places: Vec<i64> =
        job::rows(world.state()).iter().map(|row| row.place.since(START)).collect();
    places.sort_unstable();
    assert_eq!(places, [2_400_000, 2_401_000, 2_402_000, 2_403_000]);
}

#[test]
fn wrong_arguments_are_an_error_of_the_task() {
    let mut world = world("do: [{score: {call: work, with: {queue: '${ .q }'}}}]");
    world.start(json!({"q": "No Queue"}));
    assert!(world.error().detail.unwrap().contains("No Queue"));
}

#[test]
fn what_a_lost_lease_may_have_done_is_undone_though_nobody_waited_for_it() {
    let undo =
        "metadata: {compensate: {call: http, with: {method: delete, endpoint: 'http://bob/x'}}}";
    let body = format!(
        "do: [{{r: {{try: [{{a: {{call: work, with: {{queue: q, ttl: PT30S}}, {undo}}}}}], \
         catch: {{retry: {{delay: PT1M, limit: {{attempt: {{count: 1, duration: PT15S}}}}}}}}}}}}]"
    );
    let mut world = queued(&body);
    let row = the_job(&world);
    lease(&mut world, 1).unwrap();
    world.pass(15_000);
    end(&mut world, &row, 1, lost()).unwrap();
    // it is queued again, expires at once, and the case fails: what the worker did is still to be undone
    world.pass(60_000);
    let row = the_job(&world);
    lease(&mut world, 2).unwrap();
    end(&mut world, &row, 2, done()).unwrap();
    world.answer_next(world::done(json!({})));
    assert_eq!(world.phase(), Phase::Faulted);
}
