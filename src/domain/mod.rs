//! What is decided, as plain functions over values: no clock, no randomness, no input or output.
//! Time, ids and what the outside answered come in as arguments.

pub mod call;
pub mod case;
pub mod cloud_event;
pub mod cron;
pub mod data;
pub mod document;
pub mod ids;
pub mod line;
pub mod mail;
pub mod retry;
pub mod schedule;
pub mod service;
pub mod staff;
pub mod time;
pub mod work;
pub mod workflow;
