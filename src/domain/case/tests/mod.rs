//! Cases driven by hand: a world that answers what the test says, a clock that the test moves, and
//! after every decision the promises that hold for all of them.

mod again;
mod assignments;
mod beside;
mod bounds;
mod calls;
mod control;
mod covers;
mod error_paths;
mod events;
mod fetches;
mod generated;
mod jobs;
mod joined;
mod ledger;
mod notices;
mod office;
mod outage;
mod people;
mod processes;
mod properties;
mod protocol;
mod resilience;
mod rounds;
mod simulation;
mod staffing;
mod undo;
mod unknown;
mod world;
mod year;

pub use world::{echo_world, world};
