//! People: one availability actor for each CSR, and the planner, which looks for people and times and only
//! proposes.

pub mod actor;
pub mod ask;
pub mod board;
mod commit;
pub mod dry_run;
mod handle;
mod imagine;
pub mod kind;
mod letters;
pub mod load;
pub mod message;
pub mod planner;
pub mod waiting;
