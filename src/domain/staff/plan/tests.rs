//! Who is chosen for a task, where it is placed, and what happens to those behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::choose::{Found, Seeking, choose};
use super::event::PlanEvent;
use super::place::{Choice, Request, place};
use super::wanted::{Booked, Due, Performed};
use super::{Phase, Place, Plan, evolve};
use crate::domain::ids::{Bits, BookingId, CaseId, CsrId, PlanId};
use crate::domain::staff::csr::event::Event;
use crate::domain::staff::csr::{Csr, MINUTE, Reservation, Slot, Standing, begin, evolve as told};
use crate::domain::staff::settings::Settings;
use crate::domain::time::{DAY, Timestamp};
use crate::domain::workflow::model::TaskId;

const HOUR: i64 = 60 * MINUTE;

/// Monday, 7 September 2026, 06:00 in Berlin.
const MONDAY: Timestamp = Timestamp(1_788_753_600_000);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn id(name: &str) -> CsrId {
    name.parse().unwrap()
}

/// A CSR who works from nine to five in Berlin.
fn csr(name: &str, more: &Json) -> Csr {
    let hours = ["mon", "tue", "wed", "thu", "fri"]
        .map(|day| json!({"day": day, "start": "09:00", "end": "17:00"}));
    let mut profile = json!({"name": name, "email": format!("{name}@example.com"),
        "timeZone": "Europe/Berlin", "skills": ["id"], "hours": hours});
    let more = more.as_object().cloned().unwrap_or_default();
    profile.as_object_mut().unwrap().extend(more);
    let profile = serde_json::from_value(profile).unwrap();
    begin(&Event::Added { id: id(name), profile: Arc::new(profile) }).unwrap()
}

/// The same with something booked, from a time in UTC on, for so many minutes.
fn booked(mut csr: Csr, n: u8, start: &str, minutes: i64) -> Csr {
    let start = at(start);
    let end = start.plus(minutes * MINUTE);
    let slot = Some(Slot { start, end, buffer_end: end });
    let (case, title, standing) = (CaseId(Bits([n; 16])), "other".into(), Standing::Live);
    let reservation =
        Reservation { number: 1, case, customer: None, title, slot, standing, offset: None };
    let booking = BookingId(Bits([n; 16]));
    let event = Event::Reserved { booking, reservation, by_person: false };
    told(&mut csr, &event, MONDAY).unwrap();
    csr
}

fn settings() -> Settings {
    let mut settings = Settings { notice: 0, tolerance: HOUR, ..Settings::default() };
    settings.business.zone = "Europe/Berlin".parse().unwrap();
    settings
}

fn seeking() -> Seeking<'static> {
    Seeking {
        booking: BookingId(Bits([200; 16])),
        skill: "id",
        minutes: 60,
        buffer: 0,
        earliest: MONDAY,
        due: None,
        contact: None,
        queued: false,
        owner: None,
        not: &[],
        silent: &[],
        had: None,
        now: MONDAY,
    }
}

fn verdicts(found: &Found<'_>) -> BTreeMap<String, String> {
    let list = found.verdicts.list.iter();
    list.map(|one| (one.csr.to_string(), one.verdict.to_string())).collect()
}

fn chosen(found: &Found<'_>) -> (String, Timestamp) {
    let (csr, slot) = found.chosen.unwrap();
    (csr.id.to_string(), slot.map_or(MONDAY, |slot| slot.start))
}

#[test]
fn outside_of_the_tolerance_the_earliest_wins() {
    let ann = booked(csr("ann", &json!({})), 1, "2026-09-07T07:00:00Z", 240);
    let ben = booked(csr("ben", &json!({})), 1, "2026-09-07T07:00:00Z", 60);
    let ben = booked(ben, 2, "2026-09-04T07:00:00Z", 300);
    let staff = [Arc::new(ann), Arc::new(ben)];
    let found = choose(&seeking(), &staff, &settings());
    assert_eq!(chosen(&found), ("ben".to_owned(), at("2026-09-07T08:00:00Z")));
    assert_eq!(verdicts(&found)["ann"], "later");
}

#[test]
fn within_it_whoever_has_less_to_do() {
    let ann = booked(csr("ann", &json!({})), 1, "2026-09-03T07:00:00Z", 480);
    let ann = booked(ann, 2, "2026-09-07T07:00:00Z", 60);
    let ben = booked(csr("ben", &json!({})), 1, "2026-09-03T07:00:00Z", 240);
    let ben = booked(ben, 2, "2026-09-07T07:00:00Z", 75);
    let staff = [Arc::new(ann), Arc::new(ben)];
    let found = choose(&seeking(), &staff, &settings());
    assert_eq!(chosen(&found), ("ben".to_owned(), at("2026-09-07T08:15:00Z")));
    assert_eq!(verdicts(&found)["ann"], "less fair");
    assert!(found.why.starts_with("ben has the least load of the 2"), "{}", found.why);
}

#[test]
fn load_is_a_share_of_ones_hours_and_who_was_away_or_new_is_not_flooded() {
    let full = booked(csr("full", &json!({})), 1, "2026-09-03T07:00:00Z", 480);
    let half = ["mon", "tue", "wed", "thu", "fri"]
        .map(|day| json!({"day": day, "start": "09:00", "end": "13:00"}));
    let part = booked(csr("part", &json!({"hours": half})), 1, "2026-09-03T07:00:00Z", 300);
    let staff = [Arc::new(full.clone()), Arc::new(part)];
    assert_eq!(chosen(&choose(&seeking(), &staff, &settings())).0, "full");
    let mut old = full.clone();
    for (n, day) in [(2, 1), (3, 2), (4, 4)] {
        old = booked(old, n, &format!("2026-09-0{day}T07:00:00Z"), 240);
    }
    let new = Arc::new(csr("new", &json!({"from": "2026-09-07"})));
    let mut staff = [Arc::new(old), new];
    let mut given = BTreeMap::new();
    for n in 0..10 {
        let seeking = Seeking { booking: BookingId(Bits([100 + n; 16])), ..seeking() };
        let found = choose(&seeking, &staff, &Settings { tolerance: 100 * HOUR, ..settings() });
        let (name, start) = chosen(&found);
        let place = staff.iter().position(|csr| csr.id.as_str() == name).unwrap();
        let more = booked((*staff[place]).clone(), 100 + n, &start.to_string(), 60);
        staff[place] = Arc::new(more);
        *given.entry(name).or_insert(0) += 1;
    }
    assert!(given["full"] >= 4, "one who has just come gets not all of it: {given:?}");
}

#[test]
fn the_owner_has_it_while_that_takes_no_longer_than_patience() {
    let mia = |until: i64| {
        let mia = csr("mia", &json!({}));
        (0..until).fold(mia, |mia, day| {
            booked(mia, day as u8, &MONDAY.plus(day * DAY + 3 * HOUR).to_string(), 480)
        })
    };
    let other = Arc::new(csr("other", &json!({})));
    let owner = id("mia");
    let seeking = Seeking { owner: Some(&owner), ..seeking() };
    let staff = [Arc::new(mia(2)), other.clone()];
    let found = choose(&seeking, &staff, &settings());
    assert_eq!(chosen(&found), ("mia".to_owned(), at("2026-09-09T07:00:00Z")));
    let staff = [Arc::new(mia(3)), other];
    let found = choose(&seeking, &staff, &settings());
    assert_eq!(chosen(&found).0, "other");
    assert_eq!(verdicts(&found)["mia"], "owner beyond patience");
}

#[test]
fn why_nobody_is_one_sentence() {
    let staff = [Arc::new(csr("ann", &json!({}))), Arc::new(csr("ben", &json!({})))];
    let saml = Seeking { skill: "saml", ..seeking() };
    assert_eq!(choose(&saml, &staff, &settings()).why, "0 of 2 have the skill saml");
    let due = Some(MONDAY.plus(2 * HOUR));
    let found = choose(&Seeking { due, ..seeking() }, &staff, &settings());
    let why = "none of the 2 with the skill id has time before 2026-09-07T06:00:00.000Z";
    assert_eq!((found.chosen, &*found.why), (None, why));
}

#[test]
fn queued_work_goes_to_whoever_has_the_fewest_open_tasks() {
    let ann = booked(csr("ann", &json!({})), 1, "2026-09-08T07:00:00Z", 60);
    let staff = [Arc::new(ann), Arc::new(csr("ben", &json!({}))), {
        Arc::new(csr("away", &json!({"hours": []})))
    }];
    let queued = Seeking { queued: true, ..seeking() };
    let found = choose(&queued, &staff, &settings());
    assert_eq!(found.chosen.as_ref().unwrap().1, None, "without a time");
    assert_eq!(chosen(&found).0, "ben");
    let not = [id("ben")];
    let again = choose(&Seeking { not: &not, ..queued }, &staff, &settings());
    assert_eq!(chosen(&again).0, "ann");
}

/// A plan of tasks of an hour each, with a gap before each.
fn plan(gaps: &[u32]) -> Vec<Plan> {
    let tasks: Vec<Json> =
        gaps.iter().map(|gap| json!({"skill": "id", "minutes": 60, "gapMinutes": gap})).collect();
    let (booked, _) = Booked::read(&json!({"tasks": tasks})).unwrap();
    let id = PlanId(Bits([9; 16]));
    let mut plans = Vec::new();
    let begun = super::event::Begun {
        notices: Default::default(),
        plan: id,
        task: (TaskId(1), 1),
        queued: false,
        single: false,
        customer: None,
        contact: None,
        sticky: booked.sticky,
        tasks: (0..)
            .zip(booked.tasks)
            .map(|(n, wanted)| super::event::BegunTask {
                booking: BookingId::of(id, n),
                wanted,
                due: None,
            })
            .collect(),
    };
    tell(&mut plans, PlanEvent::Begun(Box::new(begun)));
    plans
}

fn tell(plans: &mut Vec<Plan>, event: PlanEvent) {
    let text = serde_json::to_string(&event).unwrap();
    let read: PlanEvent = serde_json::from_str(&text).unwrap();
    assert_eq!(read, event);
    evolve(plans, &read, MONDAY).unwrap();
}

/// Everybody takes what is proposed.
fn take(plans: &mut Vec<Plan>, choices: Vec<Choice>) {
    for choice in choices {
        let booking = choice.booking;
        let Some(chosen) = choice.place else {
            let (why, verdicts) = (choice.why, choice.verdicts);
            tell(plans, PlanEvent::Unplaced { booking, why, verdicts });
            continue;
        };
        let number = choice.number + 1;
        let (csr, slot, why) = (chosen.csr, chosen.slot, choice.why);
        let place = Place { number, csr, slot, at: MONDAY, why, by_person: false };
        tell(plans, PlanEvent::Proposed { booking, place, verdicts: choice.verdicts });
        tell(plans, PlanEvent::Made { booking, number, due: None });
    }
}

fn placed(plans: &[Plan], staff: &[Arc<Csr>], now: Timestamp) -> Vec<Choice> {
    let request = Request { plan: &plans[0], owner: None, now };
    place(&request, &mut staff.to_vec(), &settings())
}

fn starts(plans: &[Plan]) -> Vec<String> {
    let slot = |item: &super::Item| item.made.as_ref().and_then(|made| made.slot);
    plans[0]
        .items
        .iter()
        .map(|item| slot(item).unwrap().start.to_string()[11..16].to_owned())
        .collect()
}

#[test]
fn tasks_are_planned_one_behind_the_other_and_planned_anew_when_one_moves() {
    let mut plans = plan(&[0, 60, 0]);
    let staff = [Arc::new(csr("ann", &json!({}))), Arc::new(csr("ben", &json!({})))];
    assert!(plans[0].wants_planning());
    let choices = placed(&plans, &staff, MONDAY);
    take(&mut plans, choices);
    assert_eq!(starts(&plans), ["07:00", "09:00", "10:00"]);
    assert!(plans[0].is_placed() && plans[0].is_settled() && !plans[0].wants_planning());
    let booking = plans[0].items[0].booking;
    let why = crate::domain::staff::csr::Displacement::Absent;
    tell(&mut plans, PlanEvent::Displaced { booking, number: 1, why });
    assert!(plans[0].wants_planning());
    let later = MONDAY.plus(7 * HOUR);
    let choices = placed(&plans, &staff, later);
    assert_eq!(choices.len(), 3, "those behind it would begin too early");
    take(&mut plans, choices);
    assert_eq!(starts(&plans), ["11:00", "13:00", "14:00"]);
    assert_eq!(plans[0].items[0].owed.len(), 1, "what it had is given back");
}

#[test]
fn nobody_for_one_task_leaves_those_before_it_and_plans_none_behind_it() {
    let mut plans = plan(&[0, 0, 0]);
    let only = csr("ann", &json!({"maxOpen": 1}));
    let choices = placed(&plans, &[Arc::new(only)], MONDAY);
    assert_eq!(choices.len(), 2);
    take(&mut plans, choices);
    let phases: Vec<Phase> = plans[0].items.iter().map(|item| item.phase).collect();
    assert_eq!(phases, [Phase::Planned, Phase::Unplaced, Phase::Unplaced]);
    assert!(!plans[0].wants_planning(), "it waits for a change");
    assert_eq!(plans[0].waits().unwrap().booking, plans[0].items[1].booking);
    let id = plans[0].id;
    tell(&mut plans, PlanEvent::Closed { plan: id });
    assert_eq!(plans[0].asks(CaseId(Bits([1; 16])), None).len(), 1, "one had a place");
}

#[test]
fn those_that_gave_way_move_though_nobody_is_found_for_one_between() {
    let mut plans = plan(&[0, 0, 0]);
    let mut ann = csr("ann", &json!({}));
    let mut last = placed(&plans, &[Arc::new(ann.clone())], MONDAY).swap_remove(0);
    last.booking = plans[0].items[2].booking;
    take(&mut plans, vec![last]);
    let (booking, slot) = (plans[0].items[2].booking, plans[0].items[2].slot());
    let (case, title, standing) = (CaseId(Bits([9; 16])), "id".into(), Standing::Live);
    let reservation =
        Reservation { number: 1, case, customer: None, title, slot, standing, offset: None };
    told(&mut ann, &Event::Reserved { booking, reservation, by_person: false }, MONDAY).unwrap();
    Arc::make_mut(&mut plans[0].items[1].wanted).skill = "rare".into();
    let choices = placed(&plans, &[Arc::new(ann)], MONDAY);
    let starts: Vec<Option<Timestamp>> =
        choices.iter().map(|choice| Some(choice.place.as_ref()?.slot?.start)).collect();
    let first = slot.map(|slot| slot.start);
    assert_eq!(starts, [first, None, first.map(|first| first.plus(HOUR))]);
}

#[test]
fn arguments_are_read_with_their_places() {
    let wrong = |with: Json| Booked::read(&with).unwrap_err();
    assert!(wrong(json!({"tasks": []})).contains("1 to 200"));
    assert!(wrong(json!({"skill": "id"})).contains("minutes"));
    assert!(wrong(json!({"skill": "id", "minutes": 0})).starts_with("/tasks/0/minutes"));
    assert!(wrong(json!({"skill": "id", "minutes": 5, "colour": 1})).contains("colour"));
    let form = json!({"type": "strng"});
    assert!(wrong(json!({"skill": "id", "minutes": 5, "form": form})).contains("/form"));
    let hours = json!([{"day": "mon", "start": "09:00", "end": "17:00"}]);
    let with = json!({"skill": "id", "minutes": 5, "contactHours": hours});
    assert!(wrong(with).contains("timeZone"));
    let form = json!({"properties": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}}, "$defs": {"b": {}}});
    assert!(wrong(json!({"skill": "id", "minutes": 5, "form": form})).contains("$ref"));
    let long: Vec<&Json> = (0..65).map(|_| &hours[0]).collect();
    let with = json!({"skill": "id", "minutes": 5, "timeZone": "UTC", "contactHours": long});
    assert!(wrong(with).contains("64"));
    let customer =
        json!({"name": "Ada", "email": "ada@example.com", "timeZone": "America/New_York"});
    let with = json!({"skill": "id", "minutes": 5, "customer": customer, "contactHours": hours});
    let (read, is_list) = Booked::read(&with).unwrap();
    assert_eq!(
        (read.contact().unwrap().zone.to_string().as_str(), is_list),
        ("America/New_York", false)
    );
    assert!(Performed::read(&json!({})).unwrap_err().contains("one of"));
    let due: Due = serde_json::from_value(json!({"businessHours": 4})).unwrap();
    let business = settings().business;
    assert_eq!(due.at(at("2026-09-07T14:00:00Z"), &business), Some(at("2026-09-08T10:00:00Z")));
    let due = Due::Text("P2D".to_owned());
    assert_eq!(due.at(MONDAY, &business), Some(MONDAY.plus(2 * DAY)));
    assert_eq!(Due::Text("soon".to_owned()).at(MONDAY, &business), None);
}
