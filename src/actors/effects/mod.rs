//! Executing effects: who sends what, what a call needs beside its data, expressions that run apart,
//! and which attempts are under way.

pub mod attempts;
pub mod call_resources;
pub mod composer;
pub mod dispatcher;
pub mod evaluator;
