//! The simulated third parties of demo, tests and benches: real sockets, with faults that can be
//! switched while they run. Nothing in here is used when Caseworker serves.

pub mod applications;
pub mod board;
pub mod bobs_post;
pub mod cards;
pub mod cloud;
pub mod crm;
pub mod echo;
mod faults;
pub mod mailbox;
pub mod ninox;
mod party;
pub mod verifier;

pub use faults::{Faults, FaultsChange};
pub use party::Party;
