//! The actors.

pub mod definitions;
pub mod evaluator;
pub mod load;
pub mod restart;
