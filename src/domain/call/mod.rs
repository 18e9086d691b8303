//! Calls as values: requests built from arguments, answers judged. Whoever sends them knows
//! nothing of workflows, and nothing here is ever sent.

pub mod http;
pub mod oauth2;
pub mod openapi;
pub mod parameters;
pub mod uri;
