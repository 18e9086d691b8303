//! Cases: one actor for each that is live, its registry, its supervisor, and what is told to it.

pub mod actor;
pub mod cancelling;
mod case_ref;
pub mod committed;
mod decision_context;
mod dispatch;
mod execute;
pub mod intake;
pub mod load;
pub mod message;
pub mod quarantine;
pub mod registry;
mod slot;
mod state;
pub mod submit;
pub mod supervisor;
pub mod tell;
mod turn;
pub mod wants;
pub mod watches;
