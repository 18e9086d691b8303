//! The case: one run of a workflow, decided by plain functions.
//!
//! `decide(definition, state, command, facts, context) -> events + effects` and
//! `evolve(definition, state, event) -> state`. A decision is a loop: find the next step that the
//! state calls for, turn it into events, fold them. There is no other control state, so any prefix
//! of a history can go on.

pub mod assignments;
pub mod clock;
pub mod command;
pub mod decide;
pub mod decision_context;
pub mod derive;
pub mod effect;
pub mod event;
pub mod evolve;
pub mod history;
pub mod interpret;
#[cfg(test)]
mod invariants;
pub mod job;
pub mod ledger;
pub mod notices;
pub mod phase;
pub mod problem;
pub mod repeat;
pub mod staff;
pub mod state;
pub mod story;
pub mod summary;
#[cfg(test)]
mod tests;
mod tree;
pub mod worked;
