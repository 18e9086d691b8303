//! Services: permits are handed out by a handle without a message; a breaker actor looks after each.

pub mod breaker;
pub mod handle;
pub mod message;
pub mod registry;
