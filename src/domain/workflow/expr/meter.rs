//! What bounds the evaluation of an expression: fuel, stack and size, counted by thread.
//!
//! jq has no step limit of its own. Every operation on a value passes through [`tick`], which
//! unwinds out of the evaluation when the meter has run out; [`metered`] catches that. Nothing
//! else in the process is touched: no value of an abandoned evaluation leaves it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Bounds of one evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Operations on values; copying text or arrays costs one for each 64 bytes or element.
    pub fuel: u64,
    /// Arrays and objects that may be built, which also bounds how deep they can nest.
    pub built: u64,
    /// Bytes of stack below the caller's frame.
    pub stack: usize,
    /// Bytes that may be made, all in all: text, and what arrays and objects take.
    pub bytes: u64,
    /// The time of the decision, in milliseconds since 1970; what `now` gives.
    pub now: i64,
}

/// Calls of functions that call themselves with arguments, in one evaluation: as many can be taken
/// apart on the stack that is kept back for it.
const CHAINED_MAX: u64 = 100_000;

impl Limits {
    /// For expressions that run on a runtime thread: a few milliseconds at most, and half of the
    /// 2 MiB that such a thread has.
    pub const INLINE: Self =
        Self { fuel: 200_000, built: 50_000, stack: 1 << 20, bytes: 16 << 20, now: 0 };

    /// For expressions that run on a thread of their own with [`Limits::APART_STACK`].
    pub const APART: Self =
        Self { fuel: 20_000_000, built: 150_000, stack: 192 << 20, bytes: 128 << 20, now: 0 };

    /// Stack of the threads that [`Limits::APART`] is made for, in bytes; reserved, not used,
    /// until an expression recurses.
    pub const APART_STACK: usize = 256 << 20;

    /// The same for a decision of this time.
    #[must_use]
    pub fn at(self, now: i64) -> Self {
        Self { now, ..self }
    }
}

/// Which bound an evaluation ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overrun {
    Fuel,
    Built,
    Stack,
    Bytes,
    /// It outlasted its time on the wall.
    Time,
}

impl Overrun {
    /// What the author of the expression is told.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Fuel => "took more steps than an expression may",
            Self::Built => "built more arrays and objects than an expression may",
            Self::Stack => "recursed deeper than an expression may",
            Self::Bytes => "took more memory than an expression may",
            Self::Time => "took more time than an expression may",
        }
    }
}

#[derive(Clone, Copy)]
struct Meter {
    fuel: u64,
    built: u64,
    bytes: u64,
    chained: u64,
    floor: usize,
    now: i64,
}

const UNMETERED: Meter =
    Meter { fuel: u64::MAX, built: u64::MAX, bytes: u64::MAX, chained: u64::MAX, floor: 0, now: 0 };

thread_local! {
    static METER: Cell<Meter> = const { Cell::new(UNMETERED) };
    /// Operations of the evaluations on this thread since they were taken.
    static SPENT: Cell<u64> = const { Cell::new(0) };
}

/// Operations that evaluations on this thread took since this was asked last.
pub fn take_spent() -> u64 {
    SPENT.replace(0)
}

/// Runs `evaluate` under `limits`; an overrun ends it and is returned.
pub fn metered<T>(limits: Limits, evaluate: impl FnOnce() -> T) -> Result<T, Overrun> {
    let floor = stack_address().saturating_sub(limits.stack);
    let Limits { fuel, built, bytes, now, .. } = limits;
    METER.set(Meter { fuel, built, bytes, chained: CHAINED_MAX, floor, now });
    let outcome = catch_unwind(AssertUnwindSafe(evaluate));
    // one that was stopped has taken all
    let left = match METER.replace(UNMETERED).fuel {
        u64::MAX => 0,
        left => left,
    };
    SPENT.set(SPENT.get() + fuel.saturating_sub(left));
    outcome.or_else(|panic| match panic.downcast::<Overrun>() {
        Ok(overrun) => Err(*overrun),
        Err(other) => resume_unwind(other),
    })
}

/// Counts `cost` operations.
pub fn tick(cost: usize) {
    let mut meter = METER.get();
    if stack_address() < meter.floor {
        stop(Overrun::Stack);
    }
    match meter.fuel.checked_sub(cost as u64) {
        Some(left) => meter.fuel = left,
        None => stop(Overrun::Fuel),
    }
    METER.set(meter);
}

/// Counts a call that makes its arguments longer.
pub fn chain() {
    tick(1);
    let mut meter = METER.get();
    match meter.chained.checked_sub(1) {
        Some(left) => meter.chained = left,
        None => stop(Overrun::Stack),
    }
    METER.set(meter);
}

/// Counts one array or object built.
pub fn build() {
    let mut meter = METER.get();
    match meter.built.checked_sub(1) {
        Some(left) => meter.built = left,
        None => stop(Overrun::Built),
    }
    METER.set(meter);
}

/// Counts bytes that are made.
pub fn grow(bytes: usize) {
    let mut meter = METER.get();
    match meter.bytes.checked_sub(bytes as u64) {
        Some(left) => meter.bytes = left,
        None => stop(Overrun::Bytes),
    }
    METER.set(meter);
}

/// The time of the decision.
pub fn now() -> i64 {
    METER.get().now
}

fn stop(overrun: Overrun) -> ! {
    METER.set(UNMETERED); // what unwinding drops must not trip again
    resume_unwind(Box::new(overrun))
}

/// Where the stack stands, near enough.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0u8;
    std::ptr::from_ref(&here).addr()
}
