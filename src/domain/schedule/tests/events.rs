//! What events begin.

use serde_json::json;

use super::*;
use crate::domain::data::Data;
use crate::domain::ids::EventId;
use crate::domain::schedule::event::Cause;
use crate::domain::schedule::hear::Incoming;
use crate::domain::schedule::state::KEPT_MAX;

/// An event with this type and this order, in its place.
fn event(place: u64, kind: &str, order: &str) -> Incoming {
    let id = EventId::of("/test", &place.to_string());
    let event = json!({"type": kind, "source": "/test", "data": {"order": order}});
    Incoming { place: EventCursor(place), at: Timestamp(1000), id, event: Data::from(event) }
}

impl World {
    fn hear(&mut self, events: &[Incoming]) -> Vec<Vec<u64>> {
        let through = events.last().map_or(EventCursor(0), |event| event.place);
        let heard = self.rule().hear(&self.state, events, through, self.now);
        self.commit(heard.clone());
        let places = |event: &ScheduleEvent| match event {
            ScheduleEvent::Fired(Run { cause: Cause::Events { places }, .. }) => {
                Some(places.iter().map(|place| place.0).collect())
            }
            _ => None,
        };
        heard.iter().filter_map(places).collect()
    }
}

#[test]
fn each_event_begins_a_case() {
    let mut world = World::new("on: {any: [{with: {type: paid}}, {with: {type: sent}}]}", "");
    let events = [event(11, "paid", "1"), event(12, "other", "1"), event(13, "sent", "1")];
    assert_eq!(world.hear(&events), [[11], [13]]);
    assert_eq!(world.state.heard, EventCursor(13));
    assert_eq!(world.state.owed.len(), 2);
    let first = world.state.owed[0].case;
    assert_eq!(first, CaseId::of_events(ID, &[events[0].id]), "whatever else comes");
    // read once more, it is the same case
    assert_eq!(world.hear(&events[..1]), [[11]]);
    assert_eq!(world.state.owed.len(), 1);
    assert_eq!(world.state.owed[0].case, first);
}

#[test]
fn events_that_belong_together_begin_a_case_together() {
    let correlate = "correlate: {order: {from: .data.order}}";
    let all = format!(
        "on: {{all: [{{with: {{type: paid}}, {correlate}}}, {{with: {{type: sent}}, {correlate}}}]}}"
    );
    let mut world = World::new(&all, "");
    assert!(world.hear(&[event(11, "paid", "1"), event(12, "paid", "2")]).is_empty());
    assert_eq!(world.hear(&[event(13, "sent", "2"), event(14, "paid", "2")]), [[12, 13]]);
    assert_eq!(world.hear(&[event(15, "sent", "1"), event(16, "sent", "2")]), [[11, 15], [14, 16]]);
    assert!(world.state.kept.is_empty());
}

#[test]
fn events_of_another_versions_filters_wait_no_more() {
    let all = |source: &str| {
        format!(
            "on: {{all: [{{with: {{type: paid, source: {source}}}}}, {{with: {{type: sent}}}}]}}"
        )
    };
    let mut world = World::new(&all("/test"), "");
    assert!(world.hear(&[event(11, "paid", "1")]).is_empty());
    assert_eq!(world.state.kept.len(), 1);
    world.schedule = schedule(&all("/other"), "");
    world.version = "1.1.0".into();
    let set = world.rule().set(&world.state, world.now, EventCursor(11));
    world.commit(vec![set]);
    assert!(world.hear(&[event(12, "sent", "1")]).is_empty());
}

#[test]
fn so_many_events_wait_for_others() {
    let mut world = World::new("on: {all: [{with: {type: paid}}, {with: {type: sent}}]}", "");
    let many: Vec<Incoming> = (0..=KEPT_MAX as u64).map(|n| event(11 + n, "paid", "1")).collect();
    assert!(world.hear(&many).is_empty());
    assert_eq!(world.state.kept.len(), KEPT_MAX);
    let last = world.state.last.front().and_then(|last| last.skipped);
    assert_eq!(last, Some((Skip::Bound, 1)));
    assert_eq!(world.hear(&[event(9999, "sent", "1")]), [[12, 9999]], "the oldest that is left");
}

#[test]
fn events_pass_by_while_it_is_paused() {
    let mut world = World::new("on: {one: {with: {type: paid}}}", "");
    world.commit(vec![paused()]);
    world.told.clear();
    assert!(world.hear(&[event(11, "paid", "1"), event(12, "x", "1")]).is_empty());
    assert!(
        world.told.iter().any(|event| matches!(
            event,
            ScheduleEvent::Skipped { why: Skip::Paused, count: 1, .. }
        ))
    );
    assert_eq!(world.state.heard, EventCursor(12));
    let resumed = world.resumed(None);
    world.commit(vec![resumed]);
    assert_eq!(world.hear(&[event(13, "paid", "1")]), [[13]]);
}
