//! Schedules: what begins a workflow's cases by itself, at instants or when events come. An entity for each
//! workflow that has one; the latest released version of the workflow rules.
//!
//! What was decided never is again: the instant that was decided last only rises, and what lies behind it alone
//! is decided, whatever the clock or the version says. `decide` deals with instants, `hear` with events.

pub mod decide;
pub mod event;
pub mod hear;
pub mod state;
#[cfg(test)]
mod tests;
pub mod timing;
pub mod wall;
