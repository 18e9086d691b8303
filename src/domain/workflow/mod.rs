//! Definitions: CNCF Serverless Workflow DSL 1.0.3, read with every fault located, compiled once.

pub mod expr;
pub mod fault;
pub mod location;
pub mod model;
pub mod read;
pub mod schema;
pub mod source;
