//! Runtime expressions: jq, compiled once for each definition, bounded in time, size and depth.
//!
//! Expressions that can run for long are told apart when they are compiled ([`Expr::runs_apart`]);
//! whoever evaluates decides on which thread. The most common ones (`.`, `.a.b`, `$context.c`)
//! are paths and need no jq at all.

mod compare;
mod failure;
mod guard;
pub mod json;
mod library;
pub mod meter;
mod natives;
mod scan;
#[cfg(test)]
mod tests;
mod value;
mod variables;

use std::fmt;
use std::sync::Arc;

use jaq_core::load::parse::{BinaryOp, Def, Term};
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::path::Opt;
use jaq_core::{Ctx, Vars};
use serde_json::Value as Json;

pub use self::failure::{Failure, NoExpr};
use self::guard::guard_term;
use self::meter::{Limits, metered};
use self::natives::{Kind, natives};
use self::scan::{Named, plain_key};
use self::value::Value;
pub use self::variables::{Arg, Scope, Used, Var};

/// Characters of an expression's source.
const SOURCE_MAX: usize = 8 * 1024;

/// How deep an expression's syntax tree may nest; every pipe and every operator is a level.
const DEPTH_MAX: usize = 200;

/// Brackets that an expression's source may nest.
const NESTING_MAX: usize = 100;

/// A compiled expression.
#[derive(Clone)]
pub struct Expr {
    /// As the author wrote it, without `${ }`.
    pub source: Arc<str>,
    /// Variables it names, in the order in which they are bound.
    pub used: Arc<[Used]>,
    code: Code,
    apart: bool,
    assigns: bool,
}

#[derive(Clone)]
enum Code {
    Path { root: Root, keys: Arc<[Key]> },
    Filter(Arc<jaq_core::Filter<Kind>>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Input,
    Variable,
}

struct Key {
    name: String,
    optional: bool,
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({})", self.source)
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Expr {
    /// The expression `.`, which gives back what it is given.
    pub fn identity() -> Self {
        let code = Code::Path { root: Root::Input, keys: Arc::new([]) };
        Self { source: ".".into(), used: Arc::new([]), code, apart: false, assigns: false }
    }

    /// Whether it is `.`, so that nothing need be evaluated or stored.
    pub fn is_identity(&self) -> bool {
        matches!(&self.code, Code::Path { root: Root::Input, keys } if keys.is_empty())
    }

    /// Whether it can run for long and belongs on a thread of its own.
    pub fn runs_apart(&self) -> bool {
        self.apart
    }

    /// Whether it sets a value (`.a = 1`) instead of giving one, which no condition means.
    pub fn assigns(&self) -> bool {
        self.assigns
    }

    /// Whether it names this argument of the DSL.
    pub fn uses(&self, arg: Arg) -> bool {
        self.used.iter().any(|used| used.var == Var::Arg(arg))
    }

    /// Compiles `source` for a place where the variables of `scope` exist.
    ///
    /// # Errors
    /// What is wrong, where in the source, and what would be right.
    pub fn compile(source: &str, scope: &Scope) -> Result<Self, NoExpr> {
        check_bounds(source)?;
        let mut term = parse(source)?;
        if scan::depth(&term) > DEPTH_MAX {
            let fix =
                format!("nest at most {DEPTH_MAX} deep; several `set` tasks can share the work");
            return Err(no_expr("the expression nests too deep", fix, 0));
        }
        let assigns = matches!(term, Term::BinOp(_, BinaryOp::Assign, _));
        let named = Named::in_term(&term);
        let used = used_variables(&named, scope, source)?;
        let code = match as_path(&term, &used) {
            Some(code) => code,
            None => {
                guard_term(&mut term);
                Code::Filter(Arc::new(compile_filter(source, term, &named, &used)?))
            }
        };
        let apart = named.long && matches!(code, Code::Filter(_));
        Ok(Self { source: source.into(), used: used.into(), code, apart, assigns })
    }

    /// Evaluates over `input`, with `bind` giving the value of each variable of [`Expr::used`].
    /// Several outputs are given as an array of them; none is null.
    ///
    /// # Errors
    /// When the expression fails, runs into a bound, or its result is no JSON that may be kept.
    pub fn evaluate(
        &self,
        input: &Json,
        bind: impl Fn(&Used) -> Arc<Json>,
        limits: Limits,
    ) -> Result<Json, Failure> {
        match &self.code {
            Code::Path { root: Root::Input, keys } => follow(input, keys),
            Code::Path { root: Root::Variable, keys } => follow(&bind(&self.used[0]), keys),
            Code::Filter(filter) => {
                let values = self.used.iter().map(|used| Value(json::to_jq(&bind(used))));
                let values: Vec<Value> = values.collect();
                run(filter, Value(json::to_jq(input)), values, limits)
            }
        }
    }
}

/// Whether jq takes this value for true: all but `false` and `null`.
pub fn truthy(value: &Json) -> bool {
    !matches!(value, Json::Null | Json::Bool(false))
}

fn run(
    filter: &jaq_core::Filter<Kind>,
    input: Value,
    values: Vec<Value>,
    limits: Limits,
) -> Result<Json, Failure> {
    let evaluated = metered(limits, || {
        let ctx = Ctx::<Kind>::new(&filter.lut, Vars::new(values));
        let mut outputs = Vec::new();
        for output in filter.id.run((ctx, input)) {
            match output {
                Ok(value) => outputs.push(value),
                Err(exception) => {
                    return Err(match exception.get_err() {
                        Ok(error) => error.to_string(),
                        Err(_) => "broke out of the expression".to_owned(),
                    });
                }
            }
        }
        let json = |value: &Value| json::to_json(&value.0).map_err(|e| e.to_string());
        match &outputs[..] {
            [] => Ok(Json::Null),
            [one] => json(one),
            _ => json(&outputs.into_iter().collect()),
        }
    });
    match evaluated {
        Ok(result) => result.map_err(|text| Failure::Error(shortened(text))),
        Err(overrun) => Err(Failure::Overrun(overrun)),
    }
}

/// jq's messages quote the data; this much of it is enough to see what went wrong.
fn shortened(mut text: String) -> String {
    const MAX: usize = 300;
    if text.len() > MAX {
        let end = text.floor_char_boundary(MAX);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn follow(mut value: &Json, keys: &[Key]) -> Result<Json, Failure> {
    for key in keys {
        value = match value {
            Json::Object(fields) => fields.get(&key.name).unwrap_or(&Json::Null),
            Json::Null => &Json::Null,
            _ if key.optional => &Json::Null,
            other => {
                let text = format!("cannot index {other} with \"{}\"", key.name);
                return Err(Failure::Error(shortened(text)));
            }
        };
    }
    Ok(value.clone())
}

fn no_expr(detail: impl Into<String>, fix: impl Into<String>, offset: usize) -> NoExpr {
    NoExpr { detail: detail.into(), fix: fix.into(), offset }
}

fn check_bounds(source: &str) -> Result<(), NoExpr> {
    if source.len() > SOURCE_MAX {
        return Err(no_expr(
            format!("the expression has {} characters", source.len()),
            format!("keep it below {SOURCE_MAX}; several `set` tasks can share the work"),
            0,
        ));
    }
    let mut depth = 0usize;
    for (offset, byte) in source.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            let fix = format!("nest at most {NESTING_MAX} brackets");
            return Err(no_expr("the expression nests too deep", fix, offset));
        }
    }
    Ok(())
}

fn parse(source: &str) -> Result<Term<&str>, NoExpr> {
    let tokens = load::Lexer::new(source).lex().map_err(|errors| {
        let (expected, rest) = errors.into_iter().next().expect("a failure names an error");
        let offset = load::span(source, rest).start;
        no_expr("this is no jq", format!("expected {}", expected.as_str()), offset)
    })?;
    let parsed = load::Parser::new(&tokens).parse(|p| p.term());
    parsed.map_err(|errors| {
        let (expected, found) = errors.into_iter().next().expect("a failure names an error");
        let rest = load::lex::Token::opt_as_str(found, source);
        let offset = load::span(source, rest).start;
        let detail = match found {
            Some(token) => format!("this is no jq: `{}` does not fit here", token.as_str()),
            None => "this is no jq: it ends too early".to_owned(),
        };
        no_expr(detail, syntax_fix(expected.as_str()), offset)
    })
}

/// What would be right, in words that show it.
fn syntax_fix(expected: &str) -> String {
    match expected {
        "term" => "write a term here, such as .name, $context.name, \"text\" or 1".to_owned(),
        "key" => "write a key here, such as .name or .[0]".to_owned(),
        other => format!("expected {other}"),
    }
}

/// The variables of the scope that are used; those that the expression binds itself are jq's.
fn used_variables(named: &Named, scope: &Scope, source: &str) -> Result<Vec<Used>, NoExpr> {
    let mut used: Vec<Used> = Vec::new();
    for (name, field) in &named.vars {
        let Some(var) = scope.find(name) else {
            if named.bound.contains(name) {
                continue;
            }
            let known: Vec<String> = known_names(scope);
            let offset = source.find(&**name).unwrap_or(0);
            return Err(no_expr(
                format!("`{name}` is not known here"),
                format!("known here: {}", known.join(", ")),
                offset,
            ));
        };
        let field: Option<Arc<str>> = field.as_deref().map(Into::into);
        match used.iter_mut().find(|u| u.var == var) {
            Some(known) => {
                known.fields = known.fields.take().zip(field).map(|(mut fields, field)| {
                    fields.push(field);
                    fields
                });
            }
            None => used.push(Used { var, fields: field.map(|f| vec![f]) }),
        }
    }
    Ok(used)
}

fn known_names(scope: &Scope) -> Vec<String> {
    let args = scope.args.iter().map(|arg| arg.name().to_owned());
    args.chain(scope.locals.iter().map(|l| format!("${l}"))).collect()
}

/// Compiles the guarded syntax tree: jaq takes trees as definitions only, so the expression
/// becomes the definition that the program calls.
fn compile_filter<'s>(
    source: &'s str,
    term: Term<&'s str>,
    named: &Named,
    used: &[Used],
) -> Result<jaq_core::Filter<Kind>, NoExpr> {
    let (mut definitions, names) = library::definitions_for(&named.calls);
    definitions.push(Def { name: "__expression", args: Vec::new(), body: term });
    let arena = Arena::default();
    let names_of_vars: Vec<String> = used.iter().map(|u| u.var.name()).collect();
    let modules = Loader::new(definitions)
        .load(&arena, File { code: "__expression", path: () })
        .map_err(|_| no_expr("this is no jq expression", "write a jq filter", 0))?;
    let needed = natives().filter(|(name, arguments, _)| {
        [guard::TICK, guard::CHAIN].contains(name)
            || names.contains(&((*name).to_owned(), arguments.len()))
    });
    jaq_core::Compiler::default()
        .with_funs(needed)
        .with_global_vars(names_of_vars.iter().map(String::as_str))
        .compile(modules)
        .map_err(|errors| undefined(source, errors))
}

fn undefined(source: &str, errors: jaq_core::compile::Errors<&str, ()>) -> NoExpr {
    let first = errors.into_iter().flat_map(|(_, errors)| errors).next();
    let Some((symbol, kind)) = first else {
        return no_expr("the expression does not compile", "write a jq filter", 0);
    };
    let inside = source.as_bytes().as_ptr_range().contains(&symbol.as_ptr());
    let offset = if inside { load::span(source, symbol).start } else { 0 };
    let natives: Vec<_> = natives().map(|(name, ..)| name).collect();
    let fix = match nearest(symbol, library::names().chain(natives)) {
        _ if REACHING_OUT.contains(&symbol) => {
            "leave it out: it reaches outside of the expression".to_owned()
        }
        Some(name) => format!("did you mean `{name}`?"),
        None => "use a function of jq 1.7 or one that the expression defines".to_owned(),
    };
    no_expr(format!("the {} `{symbol}` is not known", kind.as_str()), fix, offset)
}

/// Functions of jq that are taken out, since they would read the environment or other input, write to
/// the log, or end the process.
const REACHING_OUT: [&str; 7] =
    ["env", "halt", "halt_error", "stderr", "input", "inputs", "input_filename"];

/// The known name nearest to a misspelt one, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.len() / 3).clamp(1, 3);
    known
        .map(|name| (edits(word, name), name))
        .filter(|(distance, name)| *distance <= limit && *name != word)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance over bytes.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let cost = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// `.`, `.a.b`, `$context.c`: paths that need no interpreter.
fn as_path(term: &Term<&str>, used: &[Used]) -> Option<Code> {
    let (head, parts) = match term {
        Term::Id | Term::Var(_) => (term, &[][..]),
        Term::Path(head, path) => (&**head, &path.0[..]),
        _ => return None,
    };
    let root = match head {
        Term::Id => Root::Input,
        Term::Var(_) if used.len() == 1 => Root::Variable,
        _ => return None,
    };
    let mut keys = Vec::with_capacity(parts.len());
    for (part, opt) in parts {
        let optional = matches!(opt, Opt::Optional);
        keys.push(Key { name: plain_key(part)?, optional });
    }
    Some(Code::Path { root, keys: keys.into() })
}
