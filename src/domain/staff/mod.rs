//! The people who do human tasks (CSRs): when they work, what is reserved of their time, and what is due
//! when.

pub mod business;
pub mod catalogue;
pub mod civil;
pub mod csr;
pub mod holidays;
pub mod intervals;
pub mod notice;
pub mod plan;
pub mod profile;
pub mod settings;
#[cfg(test)]
mod tests;
