//! Cases: one actor for each that is live, its supervisor, and what is told to it.

pub mod actor;
pub mod cancelling;
mod case_ref;
pub mod committed;
mod decision_context;
mod dispatch;
pub mod execute;
pub mod intake;
pub mod kind;
pub mod load;
pub mod make;
pub mod message;
mod people;
pub mod quarantine;
mod state;
pub mod submit;
pub mod tell;
pub mod wants;
pub mod watches;
