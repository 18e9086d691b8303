//! Schedules: an actor for each, which commits what is due and begins its cases.

mod actor;
mod ask;
mod commit;
pub mod handle;
mod load;
pub mod message;
mod owed;
pub mod registry;
#[cfg(test)]
mod tests;

pub use actor::ScheduleActor;
