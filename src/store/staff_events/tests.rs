//! One stored example of every event that has to do with people: read and written as it is.

use std::sync::Arc;

use serde_json::json;

use super::{decode, encode};
use crate::domain::case::event::{Event as CaseEvent, Wait, WaitKind};
use crate::domain::case::notices::{Came, NoticeEvent};
use crate::domain::case::problem::{Problem, Standard};
use crate::domain::data::Data;
use crate::domain::ids::{Bits, BookingId, CaseId, CsrId, EntityKind, PlanId};
use crate::domain::staff::csr::event::Event;
use crate::domain::staff::csr::{Displacement, Refusal, Reservation, Slot, Standing};
use crate::domain::staff::notice::{Kind, Line, Mark, Notice, Notices, Reader, Seen};
use crate::domain::staff::plan::event::{Begun, BegunTask, Changed, ChangedTask, PlanEvent};
use crate::domain::staff::plan::wanted::{Booked, Customer, Restated};
use crate::domain::staff::plan::{Debt, Person, Place, Verdict, Verdicts};
use crate::domain::staff::profile::{Profile, TimeOff};
use crate::domain::time::Timestamp;
use crate::domain::workflow::model::TaskId;
use crate::store::events;
use crate::store::record::{By, Header};

const AT: Timestamp = Timestamp(1_788_753_600_000);

fn csr() -> CsrId {
    "mia".parse().unwrap()
}

fn booking() -> BookingId {
    BookingId(Bits([7; 16]))
}

fn slot() -> Slot {
    Slot { start: AT, end: AT.plus(1_800_000), buffer_end: AT.plus(2_700_000) }
}

fn profile() -> Arc<Profile> {
    let profile = json!({
        "name": "Mia", "email": "mia@example.com", "timeZone": "Europe/Berlin",
        "hours": [{"day": "mon", "start": "09:00", "end": "17:00"}],
        "extra": [{"id": "sat", "from": "2026-09-12T10:00", "to": "2026-09-12T12:00"}],
        "timeOff": [{"id": "ill", "from": "2026-09-09", "to": "2026-09-10", "reason": "a cold"}],
        "holidays": "berlin", "skills": ["id"], "skillDates": {"id": {"until": "2027-01-01"}},
        "maxMinutesPerDay": 360, "maxOpen": 20, "from": "2026-01-01", "language": "de",
    });
    Arc::new(serde_json::from_value(profile).unwrap())
}

fn of_a_csr() -> Vec<(&'static str, Event)> {
    let displaced = vec![(booking(), Displacement::Absent)];
    let (from, to) = ("2026-09-09".parse().unwrap(), "2026-09-10T12:00".parse().unwrap());
    let off = TimeOff { id: "ill".to_owned(), from, to, reason: "a cold".to_owned() };
    let calendar = json!({"name": "berlin", "timeZone": "Europe/Berlin", "days": [
        {"date": "2026-12-25", "name": "Christmas Day", "start": null, "end": "12:00"}]});
    let calendar = Some(Arc::new(serde_json::from_value(calendar).unwrap()));
    let reservation = Reservation {
        number: 2,
        case: CaseId(Bits([1; 16])),
        customer: Some("4711".into()),
        title: "Check".into(),
        slot: Some(slot()),
        standing: Standing::Live,
        offset: None,
    };
    let queued = Reservation { slot: None, customer: None, ..reservation.clone() };
    let (number, case, why) = (2, CaseId(Bits([1; 16])), Refusal::Booked);
    vec![
        ("csr-added", Event::Added { id: csr(), profile: profile() }),
        ("csr-changed", Event::Changed { profile: profile(), displaced: displaced.clone() }),
        ("csr-holidays", Event::Holidays { calendar, displaced: Vec::new() }),
        ("csr-away", Event::Away { off, displaced: displaced.clone() }),
        ("csr-back", Event::Back { id: "ill".to_owned() }),
        ("csr-left", Event::Left { at: AT, reason: "a new job".into(), displaced }),
        ("csr-reserved", Event::Reserved { booking: booking(), reservation, by_person: true }),
        (
            "csr-reserved-queued",
            Event::Reserved { booking: booking(), reservation: queued, by_person: false },
        ),
        ("csr-refused", Event::Refused { booking: booking(), number, case, why }),
        ("csr-released", Event::Released { booking: booking(), number }),
        ("csr-kept", Event::Kept { booking: booking(), number }),
        ("csr-done", Event::Done { booking: booking(), number }),
    ]
}

fn of_a_plan() -> Vec<(&'static str, CaseEvent)> {
    let with = json!({
        "skill": "id", "minutes": 30, "title": "Check", "notBefore": "2026-09-08T08:00:00Z",
        "due": {"businessHours": 4}, "gapMinutes": 60, "bufferMinutes": 15,
        "instructions": "Look at it.", "form": {"type": "object"},
        "customer": {"name": "Ada", "email": "ada@example.com", "timeZone": "Europe/Paris",
            "language": "fr"},
        "contactHours": [{"day": "fri", "start": "22:00", "end": "02:00"}], "sticky": "customer",
    });
    let (booked, _) = Booked::read(&with).unwrap();
    let (plan, contact) = (PlanId(Bits([9; 16])), booked.contact());
    let Booked { tasks, customer, sticky, .. } = booked;
    let task = |wanted| BegunTask { booking: booking(), wanted, due: Some(AT) };
    let new = task(tasks[0].clone());
    let new_tasks = vec![ChangedTask::Kept(booking()), ChangedTask::New(new)];
    let (kept, reason) = (customer.clone(), "in another order".into());
    let changed = Changed { plan, tasks: new_tasks, customer: kept, reason };
    let begun = Begun {
        plan,
        task: (TaskId(3), 1),
        queued: false,
        single: true,
        customer,
        contact,
        sticky,
        notices: Default::default(),
        tasks: tasks.into_iter().map(task).collect(),
    };
    let person = Person { id: csr(), name: "Mia".into(), email: "mia@example.com".into() };
    let (number, why) = (2, "Mia is the only one who can".into());
    let place = Place { number, csr: person, slot: Some(slot()), at: AT, why, by_person: true };
    let (start, load) = (Some(AT), Some(125));
    let verdict = Verdict { csr: csr(), verdict: "chosen".into(), start, load };
    let verdicts = Arc::new(Verdicts { list: vec![verdict], more: 3 });
    let restated = Restated { title: Some("Check again".into()), ..Restated::default() };
    let booking = booking();
    let reason: Arc<str> = "because".into();
    let performed =
        PlanEvent::Performed { plan, task: (TaskId(5), 1), only: Some(booking), restated };
    let nobody = ("0 of 2 have the skill id".into(), Arc::default());
    let all = vec![
        ("plan-begun", PlanEvent::Begun(Box::new(begun))),
        ("plan-performed", performed),
        ("plan-changed", PlanEvent::Changed(Box::new(changed))),
        ("plan-closed", PlanEvent::Closed { plan }),
        ("plan-proposed", PlanEvent::Proposed { booking, place, verdicts }),
        ("plan-made", PlanEvent::Made { booking, number, due: None }),
        ("plan-refused", PlanEvent::Refused { booking, number, why: Refusal::Minutes }),
        ("plan-unplaced", PlanEvent::Unplaced { booking, why: nobody.0, verdicts: nobody.1 }),
        ("plan-displaced", PlanEvent::Displaced { booking, number, why: Displacement::Left }),
        ("plan-settled", PlanEvent::Settled { booking, csr: csr(), number, what: Debt::Release }),
        ("plan-ready", PlanEvent::Ready { booking, lease: Some(AT) }),
        ("plan-started", PlanEvent::Started { booking }),
        ("plan-blocked", PlanEvent::Blocked { booking, reason: reason.clone() }),
        ("plan-unblocked", PlanEvent::Unblocked { booking, due: Some(AT) }),
        (
            "plan-completed",
            PlanEvent::Completed { booking, outcome: Data::from(json!({"fine": true})) },
        ),
        ("plan-handed-back", PlanEvent::HandedBack { booking, reason: reason.clone() }),
        ("plan-reassigned", PlanEvent::Reassigned { booking, to: None, reason: reason.clone() }),
        ("plan-skipped", PlanEvent::Skipped { booking, reason }),
        ("plan-overrun", PlanEvent::Overrun { booking, until: AT }),
        ("plan-overdue", PlanEvent::Overdue { booking }),
        ("plan-silent", PlanEvent::Silent { booking, lease: AT }),
        ("plan-taken-back", PlanEvent::TakenBack { booking }),
    ];
    let all = all.into_iter().map(|(name, event)| (name, CaseEvent::Plan(event)));
    all.chain([("closing", CaseEvent::Closing)]).collect()
}

/// What schema 7 brought of CSRs.
fn of_a_feed() -> Vec<(&'static str, Event)> {
    let token = Some(Bits([5; 16]));
    let reservation = Reservation {
        number: 1,
        case: CaseId(Bits([1; 16])),
        customer: None,
        title: "Check".into(),
        slot: Some(slot()),
        standing: Standing::Live,
        offset: Some(3600),
    };
    let (booking, by_person) = (booking(), false);
    vec![
        ("csr-feed", Event::Feed { token }),
        ("csr-feed-revoked", Event::Feed { token: None }),
        ("csr-reserved-offset", Event::Reserved { booking, reservation, by_person }),
    ]
}

/// What schema 7 brought of cases.
fn of_notices() -> Vec<(&'static str, CaseEvent)> {
    let zone = "Europe/Paris".parse().unwrap();
    let customer = Customer {
        name: "Ada".into(),
        email: "ada@example.com".into(),
        zone,
        language: Some("fr".into()),
    };
    let seen = Seen { csr: csr(), name: "Mia".into(), time: Some((AT, AT.plus(1_800_000))) };
    let line = Line {
        booking: booking(),
        title: "Check".into(),
        was: Some(Seen { time: None, ..seen.clone() }),
        now: Some(seen),
        sequence: 4,
        mark: Some(Mark::Most),
        due: Some(AT),
        why: Some("nobody has the skill".into()),
        ended: true,
    };
    let plan = PlanId(Bits([9; 16]));
    let notice = |kind, reader| {
        let (customer, lines) = (Some("Ada".into()), vec![line.clone()]);
        Box::new(Notice { kind, plan, reader, customer, lines })
    };
    let person = Person { id: csr(), name: "Mia".into(), email: "mia@example.com".into() };
    let error = Problem::new(Standard::Timeout, "the time was up");
    let (on, until) = (Some("mail".into()), Some(AT));
    let wait = Wait { kind: WaitKind::Service, on, until, detail: None };
    let (task, customer_, reason) = ((TaskId(3), 1), Reader::Customer(customer), error.clone());
    let begun = Begun {
        plan,
        task,
        queued: true,
        single: true,
        customer: None,
        contact: None,
        sticky: Default::default(),
        notices: Notices::All,
        tasks: Vec::new(),
    };
    let notices = [
        (
            "notice-begun",
            NoticeEvent::Begun { attempt: 3, notice: notice(Kind::Changed, customer_) },
        ),
        (
            "notice-begun-csr",
            NoticeEvent::Begun { attempt: 1, notice: notice(Kind::Reminder, Reader::Csr(person)) },
        ),
        (
            "notice-begun-lead",
            NoticeEvent::Begun { attempt: 1, notice: notice(Kind::Escalation, Reader::Lead) },
        ),
        ("notice-sent", NoticeEvent::Sent),
        (
            "notice-delayed",
            NoticeEvent::Delayed { until: AT, came: Came::PutOff, error: Some(reason) },
        ),
        ("notice-parked", NoticeEvent::Parked { wait }),
        ("notice-unparked", NoticeEvent::Unparked),
        ("notice-failed", NoticeEvent::Failed { error }),
    ];
    let notices = notices.into_iter().map(|(name, event)| (name, CaseEvent::Notice(event)));
    let begun = CaseEvent::Plan(PlanEvent::Begun(Box::new(begun)));
    let made = PlanEvent::Made { booking: booking(), number: 2, due: Some(AT) };
    let gave_way = PlanEvent::GaveWay { booking: booking() };
    let of_plans = [("plan-made-due", made), ("plan-gave-way", gave_way)];
    let of_plans = of_plans.map(|(name, event)| (name, CaseEvent::Plan(event)));
    notices.chain([("plan-begun-told", begun)]).chain(of_plans).collect()
}

#[test]
fn golden_files_are_read_and_written_as_they_are() {
    let header = Header::following(
        None,
        crate::domain::ids::Entity { kind: EntityKind::Csr, bits: Bits([1; 16]) },
        AT,
        By::engine(),
    );
    let header = header.unwrap();
    let of_csrs = |all: Vec<(&'static str, Event)>| {
        let one = |(name, event): (&'static str, Event)| {
            (name, encode(std::slice::from_ref(&event)), Read::Csr(Box::new(event)))
        };
        all.into_iter().map(one).collect::<Vec<_>>()
    };
    let of_a_case = |all: Vec<(&'static str, CaseEvent)>| {
        let one = |(name, event): (&'static str, CaseEvent)| {
            (name, events::encode(std::slice::from_ref(&event)), Read::Case(Box::new(event)))
        };
        all.into_iter().map(one).collect::<Vec<_>>()
    };
    let of_v6 = [of_csrs(of_a_csr()), of_a_case(of_a_plan())].concat();
    let of_v7 = [of_csrs(of_a_feed()), of_a_case(of_notices())].concat();
    for (schema, all) in [("v6", of_v6), ("v7", of_v7)] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let folder = folder.join(schema);
        let mut missing = String::new();
        for (name, new, event) in &all {
            let new = String::from_utf8(new.clone()).unwrap();
            let Ok(golden) = std::fs::read_to_string(folder.join(format!("{name}.json"))) else {
                missing += &format!("{name} {new}\n");
                continue;
            };
            assert_eq!(new, golden.trim_end(), "{name}");
            match event {
                Read::Csr(event) => {
                    let read = decode(&header, golden.as_bytes());
                    assert_eq!(read, Ok(vec![(**event).clone()]), "{name}");
                }
                Read::Case(event) => {
                    let read = events::decode(golden.as_bytes());
                    assert_eq!(read, Ok(vec![(**event).clone()]), "{name}");
                }
            }
        }
        assert!(missing.is_empty(), "a new event needs a golden file:\n{missing}");
        let files = std::fs::read_dir(&folder).unwrap().count();
        assert_eq!(files, all.len(), "a golden file without its event");
    }
}

/// What a golden file reads as.
#[derive(Clone)]
enum Read {
    Csr(Box<Event>),
    Case(Box<CaseEvent>),
}
