//! What is decided, as plain functions over values: no clock, no randomness, no input or output.
//! Time, ids and what the outside answered come in as arguments.

pub mod ids;
pub mod mail;
pub mod time;
pub mod workflow;
