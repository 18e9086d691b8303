//! Caseworker carries every customer onboarding and every order to its end, whatever fails.
//!
//! The rooms, each with its own job; `tests/tidy.rs` keeps the walls between them:
//! [`domain`] decides and names nothing else.

pub mod actors;
pub mod clock;
pub mod domain;
pub mod effects;
pub mod store;
