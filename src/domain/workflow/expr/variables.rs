//! The variables that an expression may name, and what it asks of them.

use std::sync::Arc;

/// The DSL's arguments of runtime expressions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arg {
    Context,
    Input,
    Output,
    Secrets,
    Authorization,
    Task,
    Workflow,
    Runtime,
}

impl Arg {
    /// Name with its dollar sign.
    pub fn name(self) -> &'static str {
        match self {
            Self::Context => "$context",
            Self::Input => "$input",
            Self::Output => "$output",
            Self::Secrets => "$secrets",
            Self::Authorization => "$authorization",
            Self::Task => "$task",
            Self::Workflow => "$workflow",
            Self::Runtime => "$runtime",
        }
    }
}

/// A variable of an expression, and the fields asked of it; none means the whole value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Used {
    pub var: Var,
    /// Fields named plainly (`$workflow.id`); `None` when the whole value is used.
    pub fields: Option<Vec<Arc<str>>>,
}

impl Used {
    /// Whether this is the argument of the DSL.
    pub fn is_arg(&self, arg: Arg) -> bool {
        self.var == Var::Arg(arg)
    }

    /// Whether the expression may look at this field.
    pub fn wants(&self, field: &str) -> bool {
        self.fields.as_ref().is_none_or(|fields| fields.iter().any(|f| &**f == field))
    }
}

/// One of the DSL's arguments, or a variable of the author (`for.each`, `catch.as`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Var {
    Arg(Arg),
    Local(Arc<str>),
}

impl Var {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Arg(arg) => arg.name().to_owned(),
            Self::Local(name) => format!("${name}"),
        }
    }
}

/// The variables that an expression may name at its place.
#[derive(Clone, Debug)]
pub struct Scope {
    pub args: &'static [Arg],
    pub locals: Vec<Arc<str>>,
}

impl Scope {
    pub(super) fn find(&self, name: &str) -> Option<Var> {
        let arg = self.args.iter().find(|arg| arg.name() == name).copied().map(Var::Arg);
        let bare = name.strip_prefix('$')?;
        let local = || self.locals.iter().rev().find(|l| &***l == bare).cloned().map(Var::Local);
        local().or(arg)
    }
}
