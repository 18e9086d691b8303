//! The people who do human tasks (CSRs): when they work, and what is due when.

pub mod business;
pub mod civil;
pub mod free;
pub mod holidays;
pub mod intervals;
#[cfg(test)]
mod tests;
