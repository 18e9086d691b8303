//! The third parties' books: what each did under a key, and what was undone.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value as Json, json};

use crate::domain::case::effect::{Effect, HttpBody, HttpRequest};
use crate::domain::case::event::{Change, Event};
use crate::domain::case::tests::world::World;
use crate::domain::document::DocumentId;
use crate::domain::workflow::model::{Call, Kind, TaskId};

/// What a party did under a key.
pub(super) struct Act {
    pub(super) key: String,
    pub(super) place: (TaskId, u32),
    /// Keys of the undos that it was undone under.
    pub(super) undone: BTreeSet<String>,
}

/// The third parties' books.
#[derive(Default)]
pub(super) struct Books {
    pub(super) acts: Vec<Act>,
    /// Keys that a service answered with an error of its own after it may have acted.
    pub(super) erred: BTreeSet<String>,
    /// What workers made whose result was taken.
    pub(super) documents: BTreeSet<DocumentId>,
    /// The last key that a task asked for something under.
    pub(super) keys: HashMap<(TaskId, u32), String>,
    /// What was asked for under each key.
    pub(super) bodies: HashMap<String, Option<Json>>,
}

/// The act's output, by its place in the books.
pub(super) fn output(place: usize) -> Json {
    json!({"id": format!("a{place}")})
}

/// The entries that a task's own entry held: what was entered, or taken up again, while it was open,
/// by the case's history.
fn held(world: &World, around: (TaskId, u32)) -> BTreeSet<(TaskId, u32)> {
    let (mut open, mut began) = (false, false);
    let (mut before, mut held) = (HashMap::<TaskId, u32>::new(), BTreeSet::new());
    for (_, event) in world.history.iter() {
        let Event::Task(event) = event else { continue };
        let place = (event.task, event.iteration);
        let entered = matches!(
            event.change,
            Change::Started { .. } | Change::Waiting { .. } | Change::Queued { .. }
        );
        if place == around {
            open = entered;
            began |= entered;
        } else if entered && world.definition.task(event.task).path.contains(&around.0) {
            if !began {
                before.insert(event.task, event.iteration);
            }
            if open && event.iteration > before.get(&event.task).copied().unwrap_or(0) {
                held.insert(place);
            }
        }
    }
    held
}

/// Whether a task runs a command.
pub(super) fn is_process(world: &World, task: TaskId) -> bool {
    match &world.definition.task(task).kind {
        Kind::Call(call) => matches!(&**call, Call::Process(_)),
        _ => false,
    }
}

impl Books {
    /// What a party has of a key and has not undone.
    pub(super) fn standing(&self, key: &str) -> Option<usize> {
        self.acts.iter().rposition(|act| act.key == key && act.undone.is_empty())
    }

    /// A party acts on a request. Where it knows the key it says what it said before.
    pub(super) fn act(&mut self, world: &World, effect: &Effect, request: &HttpRequest) -> Json {
        let method = &*request.method;
        let body = match &request.body {
            Some(HttpBody::Json(body)) => Some((**body).clone()),
            Some(_) | None => None,
        };
        let known = self.bodies.entry(effect.key.clone()).or_insert_with(|| body.clone());
        assert!(*known == body, "{} asks for another thing\n{}", effect.key, world.told());
        let safe = matches!(method, "PUT" | "GET");
        let metadata = &world.definition.task(effect.task).metadata;
        let repeatable = safe || metadata.idempotent || world.ctx.honours_key;
        if let Some(known) = self.standing(&effect.key) {
            if repeatable {
                return output(known);
            }
            assert!(
                self.erred.contains(&effect.key),
                "{} was acted upon twice\n{}",
                effect.key,
                world.told()
            );
        }
        let place = (effect.task, effect.iteration);
        let other = self
            .acts
            .iter()
            .find(|act| act.place == place && act.key != effect.key && act.undone.is_empty());
        if let Some(other) = other {
            panic!("{} and {} both stand\n{}", other.key, effect.key, world.told());
        }
        self.acts.push(Act { key: effect.key.clone(), place, undone: BTreeSet::new() });
        output(self.acts.len() - 1)
    }

    /// A worker does a job; done again under its key, it is the same, unless it is a command.
    pub(super) fn do_job(&mut self, world: &World, key: &str, place: (TaskId, u32)) -> usize {
        if let Some(known) = self.standing(key) {
            let repeatable =
                world.definition.task(place.0).metadata.idempotent || !is_process(world, place.0);
            let told = || world.told();
            assert!(repeatable || self.erred.contains(key), "{key} was run twice\n{}", told());
            return known;
        }
        let stands = |act: &&Act| act.place == place && act.key != key && act.undone.is_empty();
        if let Some(other) = self.acts.iter().find(stands) {
            panic!("{} and {key} both stand\n{}", other.key, world.told());
        }
        self.keys.insert(place, key.to_owned());
        self.acts.push(Act { key: key.to_owned(), place, undone: BTreeSet::new() });
        self.acts.len() - 1
    }

    /// A party undoes all that it did within a task, and that stands.
    pub(super) fn undo_all(&mut self, effect: &Effect, world: &World) {
        let undone = world.definition.task(effect.task).parent().expect("a compensation's task");
        let held = held(world, (undone, effect.iteration));
        for act in self.acts.iter_mut().filter(|act| held.contains(&act.place)) {
            let of_its_own = world.definition.task(act.place.0).metadata.compensate.is_some();
            if act.undone.is_empty() && !of_its_own {
                act.undone.insert(effect.key.clone());
            }
        }
    }

    /// A party undoes what it did.
    pub(super) fn undo(&mut self, effect: &Effect, url: &str, world: &World) {
        let id = url.rsplit("/a").next().and_then(|id| id.parse::<usize>().ok());
        let act = id.and_then(|id| self.acts.get_mut(id));
        let act = act.unwrap_or_else(|| panic!("{url} undoes what nobody did"));
        act.undone.insert(effect.key.clone());
        assert!(act.undone.len() == 1, "{} was undone twice\n{}", act.key, world.told());
    }
}
