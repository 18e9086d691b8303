//! Services: external parties behind one gate each. The gate is a plain state machine: a breaker,
//! limits, a ramp, and the line of those who wait. It knows no clock and sends nothing.

pub mod bucket;
pub mod circuit;
pub mod gate;
pub mod line;
pub mod pause;
pub mod permit;
pub mod ramp;
pub mod settings;
pub mod window;

#[cfg(test)]
mod tests;
