//! What differs between the plans of a case before and after a change: what moves, and what stands out.

use std::sync::Arc;

use super::{Item, Phase, Plan};
use crate::domain::ids::{BookingId, CsrId};
use crate::domain::time::Timestamp;

/// A CSR and a start; none: it has no time.
pub type Where = (CsrId, Option<Timestamp>);

/// A task that is elsewhere after a change.
#[derive(Clone, PartialEq, Debug)]
pub struct Move {
    pub booking: BookingId,
    pub from: Option<Where>,
    /// None: it has no place.
    pub to: Option<Where>,
    pub why: Arc<str>,
}

/// What a change makes of tasks.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Difference {
    pub moves: Vec<Move>,
    /// Tasks that somebody has to look at.
    pub attention: Vec<Move>,
}

impl Difference {
    /// What another case's are.
    pub fn add(&mut self, other: Self) {
        self.moves.extend(other.moves);
        self.attention.extend(other.attention);
    }
}

/// What differs.
pub fn difference(before: &[Plan], after: &[Plan]) -> Difference {
    let mut all = Difference::default();
    for item in after.iter().flat_map(|plan| &plan.items) {
        let known = before.iter().find_map(|plan| plan.item(item.booking));
        let from = known.and_then(place_of);
        let to = place_of(item).filter(|_| item.phase.is_open());
        let ended = !item.phase.is_open() && known.is_some_and(|known| known.phase.is_open());
        let moved =
            Move { booking: item.booking, from: from.clone(), to: to.clone(), why: why(item) };
        if item.phase == Phase::Unplaced {
            all.attention.extend((known.is_none() || from.is_some()).then_some(moved));
        } else if ended || (item.phase.is_open() && from != to) {
            all.moves.push(moved);
        } else if item.attention.is_some() && known.is_some_and(|k| k.attention != item.attention) {
            all.attention.push(moved);
        }
    }
    all
}

fn place_of(item: &Item) -> Option<Where> {
    let made = item.made.as_ref()?;
    Some((made.csr.id.clone(), made.slot.map(|slot| slot.start)))
}

/// Why it is where it is.
fn why(item: &Item) -> Arc<str> {
    match item.phase {
        Phase::Unplaced => {
            item.nobody.clone().unwrap_or_else(|| "it waits for the one before".into())
        }
        Phase::Skipped => item.skipped.clone().unwrap_or_default(),
        phase if phase.has_begun() && item.attention.is_some() => {
            "somebody has begun with it".into()
        }
        _ => item.made.as_ref().map(|made| made.why.clone()).unwrap_or_default(),
    }
}
