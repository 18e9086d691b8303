//! Crashes of cases' actors, met from inside: nothing outside can make one crash.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::cases::message::{CaseMsg, CommandError};
use super::context::SEED_STEP;
use super::engine::{Engine, Parts, Running};
use super::handles::{By, CaseError, CommandMeta, Handle, Submitted};
use super::recovery::run_file::RunFile;
use crate::clock::Clock;
use crate::domain::case::command::{Command, Fetched, Outcome};
use crate::domain::case::event::WaitKind;
use crate::domain::case::phase::Phase;
use crate::domain::data::Data;
use crate::domain::ids::{CaseId, Entity};
use crate::domain::workflow::model::TaskId;
use crate::domain::workflow::source::Format;
use crate::effects::http::Http;
use crate::effects::names::Names;
use crate::store::documents::Documents;
use crate::store::embedded::EmbeddedJournal;
use crate::store::journal::{Append, Appended, Journal};
use crate::store::logs::{Limits, Logs};
use crate::store::record::{self, Header};
use crate::store::snapshots::Snapshots;
use crate::store::views::Views;

const PARKED: &str = "
document: { dsl: '1.0.3', namespace: test, name: parked, version: '1.0.0' }
do:
  - pause: { wait: P30D }
";

pub(super) struct World {
    pub(super) running: Running,
    pub(super) handle: Handle,
    _fatal: mpsc::UnboundedReceiver<String>,
}

/// What is kept of logs.
const LIMITS: Limits = Limits { keep: 86_400_000, bytes: 1 << 30 };

async fn engine(folder: &Path) -> (Engine, mpsc::UnboundedReceiver<String>) {
    // an error means that it is there already
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let journal = EmbeddedJournal::open(&folder.join("journal"), |error| panic!("{error}"))
        .expect("a journal");
    let last = journal.end().await.expect("a place");
    let views =
        Views::open(&folder.join("views"), "machine", Clock::engine().now(), last).expect("views");
    let (told, fatal) = mpsc::unbounded_channel();
    let engine = Engine::build(Parts {
        clock: Clock::engine(),
        journal,
        views,
        snapshots: Snapshots::open(&folder.join("snapshots")),
        services: Vec::new(),
        allow_unknown_hosts: true,
        http: Http::new(None, Names::of_the_system()).expect("a client"),
        post: None,
        max_requests: 8,
        secrets: None,
        folder: folder.to_owned(),
        min_free: 0,
        staff: Default::default(),
        catalogue: Default::default(),
        templates: Default::default(),
        logs: Logs::open(&folder.join("logs"), LIMITS).expect("logs"),
        documents: Documents::open(&folder.join("documents")).expect("documents"),
        documents_by: Default::default(),
        queues: Default::default(),
        live_max: 100,
        pending_max: 100,
        fatal: told,
    });
    (engine.await.expect("an engine"), fatal)
}

pub(super) async fn world(folder: &Path) -> World {
    let (engine, fatal) = engine(folder).await;
    let handle = engine.handle();
    let registered = handle.register(PARKED.to_owned(), Format::Yaml, By::engine()).await;
    registered.expect("a definition");
    let running = engine.start().await.expect("actors");
    handle.views_filled().await;
    World { running, handle, _fatal: fatal }
}

async fn submit(handle: &Handle) -> CaseId {
    submit_to(handle, "parked").await
}

async fn submit_to(handle: &Handle, name: &str) -> CaseId {
    let submitted = Submitted {
        namespace: "test".to_owned(),
        name: name.to_owned(),
        version: None,
        input: Data::from(json!({})),
        subject: None,
        tags: Vec::new(),
        priority: None,
        key: None,
        client: "local".to_owned(),
    };
    handle.submit(submitted, By::engine()).await.expect("a case").id
}

/// A result of a task that the definition does not have, as no dispatcher would bring.
fn crash(world: &World, case: CaseId) {
    let message = || CaseMsg::Result {
        task: TaskId(9999),
        iteration: 1,
        attempt: 1,
        outcome: Box::new(Outcome::Fetched(Fetched::Here)),
    };
    let context = world.handle.context();
    context.cases.tell(case, None, message());
}

pub(super) async fn until(what: &str, look: impl Fn() -> bool) {
    let looking = async {
        while !look() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), looking).await;
    assert!(waited.is_ok(), "in vain: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_touches_no_other_case_and_ends_in_quarantine() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world(folder.path()).await;
    let handle = &world.handle;
    let (poisoned, sound) = (submit(handle).await, submit(handle).await);

    crash(&world, poisoned);
    let suspended = Command::Suspend { reason: "a look".to_owned() };
    let told =
        handle.command(poisoned, suspended, CommandMeta::engine()).await.expect("it goes on");
    assert_eq!(told.phase, Phase::Suspended, "rebuilt from the journal");

    for _ in 0..20 {
        crash(&world, poisoned);
    }
    until("it is taken out of service", || {
        crash(&world, poisoned);
        handle.quarantined(poisoned).is_some()
    })
    .await;
    let refused = Command::Cancel { reason: String::new() };
    let refused = handle.command(poisoned, refused, CommandMeta::engine()).await;
    assert!(matches!(refused, Err(CommandError::Quarantined(_))), "{refused:?}");
    let cancelled = Command::Cancel { reason: String::new() };
    let told = handle.command(sound, cancelled, CommandMeta::engine()).await.expect("untouched");
    assert_eq!(told.phase, Phase::Cancelled);

    let retry = Command::Retry {
        reason: "looked into".to_owned(),
        task: None,
        outcome: None,
        output: None,
    };
    let told =
        handle.command(poisoned, retry, CommandMeta::engine()).await.expect("back in service");
    assert_eq!((told.phase, handle.quarantined(poisoned)), (Phase::Suspended, None));
    let missing = handle.case(CaseId::default()).await.map(|_| ());
    assert!(matches!(missing, Err(CaseError::NotFound)));
    world.running.stop().await;
}

/// A party that answers its one request only when it is told to. It would take a second one.
async fn slow_party() -> (u16, oneshot::Receiver<()>, oneshot::Sender<()>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let ((came, comes), (go_on, waits)) = (oneshot::channel(), oneshot::channel::<()>());
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    tokio::spawn(async move {
        let (mut came, mut waits) = (Some(came), Some(waits));
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            counted.fetch_add(1, Ordering::SeqCst);
            if let (Some(came), Some(waits)) = (came.take(), waits.take()) {
                let _ = came.send(());
                let _ = waits.await;
            }
            let answer = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\n\
                          content-length: 8\r\nconnection: close\r\n\r\n{\"id\":7}";
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, comes, go_on, requests)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_under_way_outlives_the_crash_of_its_case() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world(folder.path()).await;
    let (port, comes, go_on, requests) = slow_party().await;
    let text = format!(
        "document: {{ dsl: '1.0.3', namespace: test, name: calls, version: '1.0.0' }}\ndo:\n  \
         - post: {{ call: http, with: {{ method: post, endpoint: 'http://127.0.0.1:{port}/' }} }}\n"
    );
    world.handle.register(text, Format::Yaml, By::engine()).await.expect("a definition");
    let case = submit_to(&world.handle, "calls").await;
    comes.await.expect("the call is out");
    crash(&world, case);
    let version = world.handle.case(case).await.expect("a case").state.version;
    // the new actor is there once it has answered
    let stale = CommandMeta { if_match: Some(version + 1), ..CommandMeta::engine() };
    let asked = Command::Suspend { reason: "a look".to_owned() };
    let told = world.handle.command(case, asked, stale).await;
    assert_eq!(told, Err(CommandError::Stale(version)), "nothing was condemned");
    let mut watch = world.handle.watch(case);
    go_on.send(()).expect("it waits");
    watch.ended().await;
    let state = world.handle.case(case).await.expect("a case").state;
    assert_eq!((state.phase, requests.load(Ordering::SeqCst)), (Phase::Completed, 1));
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_comes_late_keeps_no_actor_alive() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world(folder.path()).await;
    let case = submit(&world.handle).await;
    let context = world.handle.context();
    let (task, iteration, attempt) = (TaskId(0), 7, 1);
    let outcome = Box::new(Outcome::Fetched(Fetched::Here));
    // through the registry, as where the actor that began the call has left
    context.cases.tell(case, None, CaseMsg::Result { task, iteration, attempt, outcome });
    until("it leaves", || context.cases.tell_live(case, CaseMsg::Projected(0)).is_err()).await;
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_without_a_note_reaches_the_views() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world(folder.path()).await;
    let case = submit(&world.handle).await;
    let (context, entity) = (world.handle.context(), Entity::from(case));
    until("it is at rest", || context.cases.tell_live(case, CaseMsg::Projected(0)).is_err()).await;
    let last = context.journal.last(entity).await.expect("a read").expect("a record");
    let header = Header::following(Some(&last.record), entity, context.clock.now(), By::engine());
    let header = header.expect("a header");
    let record = record::encode(&header, br#"[["status",{"status":"Seen"}]]"#).into();
    let (fence, first) = (Some(last.fence), header.version);
    let appended =
        context.journal.append(Append { entity, fence, first, record, note: None }).await;
    assert!(matches!(appended, Appended::Committed(_)), "{appended:?}");
    until("its row says so", || {
        let row = context.views.case(case).expect("views").expect("a row");
        row.status.as_deref() == Some("Seen")
    })
    .await;
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_case_out_of_service_is_shown_in_views_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = world(folder.path()).await;
    let case = submit(&first.handle).await;
    first.handle.context().quarantine(case, "a test".into()).await;
    first.running.stop().await;
    drop(first.handle);
    std::fs::remove_dir_all(folder.path().join("views")).expect("they were there");
    let again = world(folder.path()).await;
    let views = again.handle.views();
    let row = views.case(case).expect("views").expect("a row");
    assert_eq!(
        (row.phase, row.wait.map(|w| w.kind)),
        (Phase::Suspended, Some(WaitKind::Quarantine))
    );
    assert_eq!(row.definition.workflow(), "test/parked");
    assert_eq!(views.count_open_dead_letters(), 1);
    again.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_given_up_leaves_the_views_in_good_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, _fatal) = engine(folder.path()).await;
    engine.give_up().await;
    let meta = std::fs::read_to_string(folder.path().join("views/meta.json")).expect("it is there");
    assert!(meta.contains(r#""clean":true"#), "{meta}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_careful_start_nobody_waits_for_the_place_of_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world(folder.path()).await;
    let (port, comes, _go_on, _) = slow_party().await;
    let text = format!(
        "document: {{ dsl: '1.0.3', namespace: test, name: calls, version: '1.0.0' }}\ndo:\n  \
         - post: {{ call: http, with: {{ method: post, endpoint: 'http://127.0.0.1:{port}/' }} }}\n"
    );
    world.handle.register(text, Format::Yaml, By::engine()).await.expect("a definition");
    let (live, parked) = (submit_to(&world.handle, "calls").await, submit(&world.handle).await);
    comes.await.expect("the call is out");
    let context = world.handle.context();
    let gone = || context.cases.tell_live(parked, CaseMsg::Projected(0)).is_err();
    until("it is at rest", gone).await;
    let (run, _) = RunFile::begin(folder.path(), context.clock.now()).expect("a file");
    context.careful_start.begin(run, true).await;
    let places: Vec<_> = std::iter::from_fn(|| context.cases.try_place()).collect();
    let mut waits = Box::pin(context.wake(parked, Command::Timer));
    assert!(futures_util::poll!(&mut waits).is_pending(), "there is no place for it");
    let told = context.wake(live, Command::Timer).await.expect("it has its place");
    assert_eq!(told.phase, Phase::Running);
    drop(places);
    waits.await.expect("there is a place now");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::await_holding_lock, reason = "others have to wait for it")]
async fn the_door_is_open_while_the_views_are_filled() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = world(folder.path()).await;
    let before = submit(&first.handle).await;
    first.running.stop().await;
    drop(first.handle);
    std::fs::remove_dir_all(folder.path().join("views")).expect("they were there");
    let (engine, _fatal) = engine(folder.path()).await;
    let handle = engine.handle();
    let soon = PARKED.replace("parked", "soon").replace("P30D", "PT0.001S");
    handle.register(soon, Format::Yaml, By::engine()).await.expect("a definition");
    let views = handle.views().clone();
    let held = views.hold();
    let running = engine.start().await.expect("actors");
    assert!(!handle.is_starting() && handle.filling().is_some());
    let asked = Command::Suspend { reason: "a look".to_owned() };
    let told = handle.command(before, asked, CommandMeta::engine()).await.expect("it is served");
    assert_eq!(told.phase, Phase::Suspended);
    let meanwhile = submit_to(&handle, "soon").await;
    let phase = async || handle.case(meanwhile).await.expect("a case").state.phase;
    let completed = async {
        while phase().await != Phase::Completed {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let completed = tokio::time::timeout(std::time::Duration::from_secs(60), completed).await;
    assert!(completed.is_ok(), "its wait ends while the views are filled");
    drop(held);
    handle.views_filled().await;
    until("what came meanwhile is shown", || {
        let row = views.case(meanwhile).expect("views");
        row.is_some_and(|row| row.phase == Phase::Completed)
    })
    .await;
    let row = views.case(before).expect("views").expect("a row");
    assert_eq!(row.phase, Phase::Suspended);
    running.stop().await;
    let meta = std::fs::read_to_string(folder.path().join("views/meta.json")).expect("it is there");
    assert!(meta.contains(r#""clean":true"#), "{meta}");
    assert!(views.remove_wakes([].iter()).is_err(), "nothing is written behind that");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::await_holding_lock, reason = "others have to wait for it")]
async fn views_that_are_not_filled_when_it_ends_are_filled_from_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = world(folder.path()).await;
    let case = submit(&first.handle).await;
    first.running.stop().await;
    drop(first.handle);
    std::fs::remove_dir_all(folder.path().join("views")).expect("they were there");
    let (engine, _fatal) = engine(folder.path()).await;
    let handle = engine.handle();
    let views = handle.views().clone();
    let held = views.hold();
    let running = engine.start().await.expect("actors");
    let ending = tokio::spawn(running.stop());
    until("it is told to stop", || handle.not_ready().is_some()).await;
    drop(held);
    ending.await.expect("it ends");
    let context = Arc::downgrade(handle.context());
    drop((handle, views));
    until("nobody goes on with it", || context.strong_count() == 0).await;
    let again = world(folder.path()).await;
    assert!(again.handle.views().case(case).expect("views").is_some());
    again.running.stop().await;
}

const THREE: &str = "
document: { dsl: '1.0.3', namespace: test, name: three, version: '1.0.0' }
do:
  - calls:
      fork:
        branches:
          - a: { call: http, with: { method: get, endpoint: 'http://127.0.0.1:PORT/' } }
          - b: { call: http, with: { method: get, endpoint: 'http://127.0.0.1:PORT/' } }
          - c: { call: http, with: { method: get, endpoint: 'http://127.0.0.1:PORT/' } }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_that_cannot_be_written_wait_for_their_turn() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world(folder.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let text = THREE.replace("PORT", &port);
    world.handle.register(text, Format::Yaml, By::engine()).await.expect("a definition");
    let case = submit_to(&world.handle, "three").await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(listener.accept().await.expect("a call").0);
    }
    let context = world.handle.context();
    context.journal.close().await;
    let before = context.seeds.load(Ordering::Relaxed);
    for stream in &mut streams {
        let _ = stream.read(&mut [0; 4096]).await;
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.expect("it listens");
    }
    until("all have answered", || context.attempts.results(case).len() == 3).await;
    // so much else goes by that a case that takes each up again at once would decide thousands of times
    for _ in 0..2000 {
        context.load(case).await.expect("it can be read");
    }
    let now = context.seeds.load(Ordering::Relaxed);
    let decisions = (0..10_000u64).find(|n| before.wrapping_add(SEED_STEP.wrapping_mul(*n)) == now);
    assert!(decisions.is_some_and(|decisions| (1..50).contains(&decisions)), "{decisions:?}");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_cases_are_live_than_there_are_places_however_fast_they_come() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world(folder.path()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    tokio::spawn(async move {
        let mut never_answered = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            never_answered.push(stream);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let text = format!(
        "document: {{ dsl: '1.0.3', namespace: test, name: calls, version: '1.0.0' }}\ndo:\n  \
         - get: {{ call: http, with: {{ method: get, endpoint: 'http://127.0.0.1:{port}/' }} }}\n"
    );
    world.handle.register(text, Format::Yaml, By::engine()).await.expect("a definition");
    let context = world.handle.context();
    let mut places: Vec<_> = std::iter::from_fn(|| context.cases.try_place()).collect();
    drop(places.pop());
    for _ in 0..100 {
        submit_to(&world.handle, "calls").await;
    }
    until("all others wait", || context.views.count_pending() == 99).await;
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    world.running.stop().await;
}
