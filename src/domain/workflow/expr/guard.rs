//! Makes every function that an expression or the library defines count: each body `b` becomes
//! `__tick | b`, a native that asks the meter. Without it, `def f: [f]; f` would recurse without
//! touching a value, and overflow the stack.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::Part;

/// The native that counts a call (see `natives.rs`).
pub const TICK: &str = "__tick";

/// The native that counts a call which makes its arguments longer.
pub const CHAIN: &str = "__chain";

/// Guards every definition inside of `term`.
pub fn guard_term(term: &mut Term<&str>) {
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
        Term::Str(_, parts) => {
            for part in parts {
                if let StrPart::Term(term) = part {
                    guard_term(term);
                }
            }
        }
        Term::Arr(inner) => inner.iter_mut().for_each(|t| guard_term(t)),
        Term::Obj(pairs) => {
            for (key, value) in pairs {
                guard_term(key);
                value.iter_mut().for_each(guard_term);
            }
        }
        Term::Neg(inner) | Term::Label(_, inner) => guard_term(inner),
        Term::BinOp(left, op, right) => {
            guard_term(left);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                guard_pattern(pattern);
            }
            guard_term(right);
        }
        Term::Fold(_, over, pattern, rest) => {
            guard_term(over);
            guard_pattern(pattern);
            rest.iter_mut().for_each(guard_term);
        }
        Term::TryCatch(body, catch) => {
            guard_term(body);
            catch.iter_mut().for_each(|t| guard_term(t));
        }
        Term::IfThenElse(branches, otherwise) => {
            for (condition, then) in branches {
                guard_term(condition);
                guard_term(then);
            }
            otherwise.iter_mut().for_each(|t| guard_term(t));
        }
        Term::Def(defs, body) => {
            defs.iter_mut().for_each(guard_def);
            guard_term(body);
        }
        Term::Call(_, arguments) => arguments.iter_mut().for_each(guard_term),
        Term::Path(head, path) => {
            guard_term(head);
            for (part, _) in &mut path.0 {
                match part {
                    Part::Index(index) => guard_term(index),
                    Part::Range(from, to) => from.iter_mut().chain(to).for_each(guard_term),
                }
            }
        }
    }
}

/// Guards one definition and those inside of it.
pub fn guard_def(def: &mut Def<&str>) {
    // whoever calls itself with arguments makes them longer with each call: each holds the one
    // before, and the whole chain is taken apart at once in the end
    let chains = !def.args.is_empty() && calls(&def.body, def.name);
    guard_term(&mut def.body);
    let body = std::mem::take(&mut def.body);
    let tick = Term::Call(if chains { CHAIN } else { TICK }, Vec::new());
    def.body = Term::BinOp(Box::new(tick), BinaryOp::Pipe(None), Box::new(body));
}

/// Whether a term calls a function of this name.
fn calls(term: &Term<&str>, name: &str) -> bool {
    let found = |term: &Term<&str>| calls(term, name);
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => false,
        Term::Str(_, parts) => {
            parts.iter().any(|part| matches!(part, StrPart::Term(term) if found(term)))
        }
        Term::Arr(inner) => inner.as_deref().is_some_and(found),
        Term::Obj(pairs) => {
            pairs.iter().any(|(key, value)| found(key) || value.as_ref().is_some_and(found))
        }
        Term::Neg(inner) | Term::Label(_, inner) => found(inner),
        Term::BinOp(left, _, right) => found(left) || found(right),
        Term::Fold(_, over, _, rest) => found(over) || rest.iter().any(found),
        Term::TryCatch(body, catch) => found(body) || catch.as_deref().is_some_and(found),
        Term::IfThenElse(branches, otherwise) => {
            branches.iter().any(|(condition, then)| found(condition) || found(then))
                || otherwise.as_deref().is_some_and(found)
        }
        Term::Def(defs, body) => defs.iter().any(|def| found(&def.body)) || found(body),
        Term::Call(called, arguments) => *called == name || arguments.iter().any(found),
        Term::Path(head, path) => {
            found(head)
                || path.0.iter().any(|(part, _)| match part {
                    Part::Index(index) => found(index),
                    Part::Range(from, to) => from.iter().chain(to).any(found),
                })
        }
    }
}

fn guard_pattern(pattern: &mut Pattern<&str>) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(items) => items.iter_mut().for_each(guard_pattern),
        Pattern::Obj(pairs) => {
            for (key, value) in pairs {
                guard_term(key);
                guard_pattern(value);
            }
        }
    }
}
