//! Caseworker carries every customer onboarding and every order to its end, whatever fails.
//!
//! The rooms, each with its own job; `tests/tidy.rs` keeps the walls between them:
//! [`domain`] decides and names nothing else. [`store`] keeps what lasts, [`effects`] are the hands,
//! [`actors`] bring the three together under supervision, [`api`] is the door, [`cli`] the command
//! line, [`app`] builds it all. [`worker`] does jobs from outside, as anybody could.

pub mod actors;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod effects;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod worker;

/// What a process needs before it does anything: the one provider of cryptography.
pub fn prepare_process() {
    // an error means that it is there already
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
