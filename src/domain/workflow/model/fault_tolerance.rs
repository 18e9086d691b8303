//! Errors raised, caught, retried and reconciled.

use std::sync::Arc;

use super::{Call, List, Span, Template};
use crate::domain::workflow::expr::Expr;

/// `raise`: the error as the definition writes it.
#[derive(Debug)]
pub struct RaisedError {
    pub kind: Template,
    pub status: i64,
    pub title: Option<Template>,
    pub detail: Option<Template>,
    /// Where the error says it comes from; none: the raising task.
    pub instance: Option<Template>,
}

/// `catch` of a try task.
#[derive(Debug)]
pub struct Catch {
    pub filter: Option<ErrorFilter>,
    /// The variable that holds the error.
    pub variable: Arc<str>,
    pub when: Option<Expr>,
    pub except_when: Option<Expr>,
    pub retry: Option<RetryPolicy>,
    pub body: Option<List>,
}

/// The properties that an error must have to be caught; each that is named must be equal.
#[derive(Clone, Debug, Default)]
pub struct ErrorFilter {
    pub kind: Option<String>,
    pub status: Option<i64>,
    pub instance: Option<String>,
    pub title: Option<String>,
    pub detail: Option<String>,
}

/// When and how often a try task begins again.
#[derive(Clone, Debug, Default)]
pub struct RetryPolicy {
    pub when: Option<Expr>,
    pub except_when: Option<Expr>,
    pub delay: Option<Span>,
    pub backoff: Backoff,
    /// Repeats at the most; none: no limit.
    pub attempts: Option<u32>,
    /// How long one repeat may take.
    pub attempt_duration: Option<Span>,
    /// How long all of it may take, from the first error on.
    pub duration: Option<Span>,
    /// What is added to each delay: at least and at most.
    pub jitter: Option<(Span, Span)>,
}

/// How the delay grows.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Backoff {
    #[default]
    Constant,
    /// By this many milliseconds each time; by default the delay.
    Linear { increment: Option<i64> },
    /// By this factor each time.
    Exponential { factor: f64 },
}

/// `metadata.reconcile`: asks whether an attempt with no known result was done.
#[derive(Debug)]
pub struct Reconcile {
    /// The question; its input is the task's input.
    pub call: Call,
    /// Over the answer: whether the attempt was done.
    pub found: Expr,
    /// Over the answer: what stands for the task's raw output.
    pub output: Template,
}
