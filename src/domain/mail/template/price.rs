//! What rendering a template may take, told from its syntax alone: minijinja counts steps, not
//! bytes, so every place that makes a value is weighed with the greatest size that its parts can
//! have. What a text may not be is refused here, with its line.

use std::collections::HashMap;

use minijinja::machinery::ast::{BinOpKind, CallArg, CompareOpKind, Expr, Stmt, UnaryOpKind};
use minijinja::machinery::{Token, parse, tokenize};

use super::filters::{self, Growth};
use super::{RANGE_MAX, TEXT_MAX, say, syntax};

/// Bytes that the values of one template may have together while it is rendered.
const MADE_MAX: u64 = 64 << 20;

/// Parts (names, operators, brackets) of one tag. A tag's tree is walked by recursion, by minijinja
/// too, so this bounds the stack.
const PARTS_MAX: usize = 300;

/// `elif`s of one template: each lies within the one before it.
const ELIF_MAX: usize = 50;

/// Rounds after which what is set in a loop has to have stopped growing.
const ROUNDS: usize = 4;

/// Bytes of a number, a truth value, a place in a list.
const SMALL: u64 = 32;

/// Bytes that a list takes for each byte of its text, as places for its items.
const PLACES: u64 = 12;

/// The most that rendering takes.
pub struct Price {
    /// Bytes of the greatest value that an operator makes or looks through in one step. Filters are paid
    /// for while they work.
    pub largest: u64,
}

/// Weighs a template over data of `data` bytes.
///
/// # Errors
/// What is wrong with it, or too much.
pub fn price(source: &str, data: usize) -> Result<Price, String> {
    shallow(source)?;
    let tree = parse(source, "text", syntax()).map_err(|e| wrong(&e))?;
    let mut scale = Scale {
        variables: HashMap::new(),
        data: data as u64,
        made: 0,
        largest: 0,
        loops: 0,
        grown: None,
    };
    for _ in 0..ROUNDS {
        (scale.made, scale.largest, scale.grown) = (0, 0, None);
        scale.statement(&tree)?;
        if scale.grown.is_none() {
            return Ok(Price { largest: scale.largest });
        }
    }
    let (name, line) = scale.grown.unwrap_or_default();
    Err(format!(
        "line {line}: `{name}` may grow from turn to turn: give what is made another name than \
         what it is made of"
    ))
}

fn wrong(error: &minijinja::Error) -> String {
    format!("this is no template: {}", say(error))
}

/// Refuses, before anything recurses, what is nested too deep.
fn shallow(source: &str) -> Result<(), String> {
    let (mut parts, mut elifs) = (0, 0);
    for token in tokenize(source, false, syntax()) {
        let (token, span) = token.map_err(|e| wrong(&e))?;
        match token {
            Token::VariableStart | Token::BlockStart => parts = 0,
            Token::TemplateData(_) => {}
            other => {
                parts += 1;
                elifs += usize::from(parts == 1 && matches!(other, Token::Ident("elif")));
            }
        }
        if parts > PARTS_MAX {
            return Err(format!(
                "line {}: a tag has more than {PARTS_MAX} names and signs: make the value in an \
                 expression, and put it into `data`",
                span.start_line
            ));
        }
        if elifs > ELIF_MAX {
            return Err(format!("line {}: there are more than {ELIF_MAX} `elif`", span.start_line));
        }
    }
    Ok(())
}

/// What is weighed so far.
struct Scale<'a> {
    /// The greatest size that each name that the template sets may have.
    variables: HashMap<&'a str, u64>,
    data: u64,
    made: u64,
    largest: u64,
    /// Loops around what is weighed.
    loops: usize,
    /// A name whose size grew in this round, and where.
    grown: Option<(&'a str, u16)>,
}

type Weight = Result<u64, String>;

impl<'a> Scale<'a> {
    fn statements(&mut self, all: &[Stmt<'a>]) -> Result<(), String> {
        all.iter().try_for_each(|one| self.statement(one))
    }

    fn statement(&mut self, statement: &Stmt<'a>) -> Result<(), String> {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitRaw(_) => Ok(()),
            Stmt::EmitExpr(emit) => self.weigh(&emit.expr).map(drop),
            Stmt::IfCond(cond) => {
                self.weigh(&cond.expr)?;
                self.statements(&cond.true_body)?;
                self.statements(&cond.false_body)
            }
            Stmt::ForLoop(each) if each.recursive => {
                Err(refused(each.span().start_line, "recursive"))
            }
            Stmt::ForLoop(each) => {
                let weight = self.weigh(&each.iter)?;
                self.assign(&each.target, weight)?;
                if let Some(filter) = &each.filter_expr {
                    self.weigh(filter)?;
                }
                self.loops += 1;
                self.assign(&each.target, weight)?;
                self.statements(&each.body)?;
                self.loops -= 1;
                self.statements(&each.else_body)
            }
            Stmt::WithBlock(with) => {
                for (target, expr) in &with.assignments {
                    let weight = self.weigh(expr)?;
                    self.assign(target, weight)?;
                }
                self.statements(&with.body)
            }
            Stmt::Set(set) => {
                let weight = self.weigh(&set.expr)?;
                self.assign(&set.target, weight)
            }
            Stmt::SetBlock(set) => Err(refused(set.span().start_line, "set")),
            Stmt::AutoEscape(block) => Err(refused(block.span().start_line, "autoescape")),
            Stmt::FilterBlock(block) => Err(refused(block.span().start_line, "filter")),
            Stmt::Do(call) => Err(refused(call.span().start_line, "do")),
        }
    }

    fn assign(&mut self, target: &Expr<'a>, weight: u64) -> Result<(), String> {
        match target {
            // whatever `loop` says is taken for a number
            Expr::Var(name) if name.id == "loop" => Err(refused(name.span().start_line, "loop")),
            Expr::Var(name) => {
                let known = self.variables.entry(name.id).or_default();
                if weight > *known {
                    *known = weight;
                    if self.loops > 0 {
                        self.grown = Some((name.id, name.span().start_line));
                    }
                }
                Ok(())
            }
            Expr::List(all) => all.items.iter().try_for_each(|one| self.assign(one, weight)),
            Expr::Tuple(all) => all.items.iter().try_for_each(|one| self.assign(one, weight)),
            other => Err(refused(other.span().start_line, "set")),
        }
    }

    /// The greatest size that an expression's value may have.
    fn weigh(&mut self, expr: &Expr<'a>) -> Weight {
        let line = expr.span().start_line;
        match expr {
            Expr::Var(name) => {
                Ok(self.variables.get(name.id).map_or(self.data, |known| self.data.max(*known)))
            }
            Expr::Const(of) => Ok(of.value.as_str().map_or(0, |text| text.len() as u64) + SMALL),
            Expr::GetAttr(of) => self.weigh(&of.expr),
            Expr::GetItem(of) => {
                self.weigh(&of.subscript_expr)?;
                self.weigh(&of.expr)
            }
            Expr::Slice(of) => {
                for part in [&of.start, &of.stop, &of.step].into_iter().flatten() {
                    self.weigh(part)?;
                }
                let weight = self.weigh(&of.expr)?;
                self.make(weight, line)
            }
            Expr::UnaryOp(of) => self.weigh(&of.expr).map(|_| SMALL),
            Expr::BinOp(of) => self.operate(of.op, &of.left, &of.right, line),
            Expr::Compare(of) => {
                let mut left = self.weigh(&of.expr)?;
                for one in &of.ops {
                    let right = self.weigh(&one.expr)?;
                    self.look_through(match one.op {
                        CompareOpKind::In | CompareOpKind::NotIn => right,
                        _ => left.min(right),
                    });
                    left = right;
                }
                Ok(SMALL)
            }
            Expr::IfExpr(of) => {
                self.weigh(&of.test_expr)?;
                let otherwise = of.false_expr.as_ref().map_or(Ok(0), |e| self.weigh(e))?;
                Ok(self.weigh(&of.true_expr)?.max(otherwise))
            }
            Expr::Filter(of) => {
                let Some(input) = &of.expr else { return Err(refused(line, "filter")) };
                let Some(growth) = filters::growth(of.name) else {
                    return Err(format!("line {line}: {}", filters::unknown(of.name)));
                };
                if of.name == "map" && !of.args.iter().all(by_attribute) {
                    return Err(format!(
                        "line {line}: `map` takes `attribute=…` in the texts of mails, and nothing else"
                    ));
                }
                let (input, arguments) = (self.weigh(input)?, self.arguments(&of.args)?);
                self.filtered(growth, input, arguments, line)
            }
            Expr::Test(of) => {
                if !filters::is_test(of.name) {
                    return Err(format!("line {line}: there is no test `{}`", of.name));
                }
                self.arguments(&of.args)?;
                self.weigh(&of.expr).map(|_| SMALL)
            }
            Expr::Call(of) => self.call(&of.expr, &of.args, line),
            Expr::List(of) => self.collect(of.items.iter(), line),
            Expr::Tuple(of) => self.collect(of.items.iter(), line),
            Expr::Map(of) => self.collect(of.keys.iter().chain(&of.values), line),
        }
    }

    fn operate(&mut self, op: BinOpKind, left: &Expr<'a>, right: &Expr<'a>, line: u16) -> Weight {
        let (of_left, of_right) = (self.weigh(left)?, self.weigh(right)?);
        match op {
            BinOpKind::Add | BinOpKind::Mul if self.is_number(left) && self.is_number(right) => {
                Ok(SMALL)
            }
            BinOpKind::Mul => Err(format!(
                "line {line}: `*` could repeat a text here: say that both sides are numbers, as in \
                 `(item.price|float) * (item.count|int)`"
            )),
            BinOpKind::Concat | BinOpKind::Add => self.make(of_left.saturating_add(of_right), line),
            BinOpKind::ScAnd | BinOpKind::ScOr => Ok(of_left.max(of_right)),
            BinOpKind::In => {
                self.look_through(of_right);
                Ok(SMALL)
            }
            BinOpKind::Eq
            | BinOpKind::Ne
            | BinOpKind::Lt
            | BinOpKind::Lte
            | BinOpKind::Gt
            | BinOpKind::Gte => {
                self.look_through(of_left.min(of_right));
                Ok(SMALL)
            }
            BinOpKind::Sub
            | BinOpKind::Div
            | BinOpKind::FloorDiv
            | BinOpKind::Rem
            | BinOpKind::Pow => Ok(SMALL),
        }
    }

    fn filtered(&mut self, growth: Growth, input: u64, arguments: u64, line: u16) -> Weight {
        match growth {
            Growth::Number => Ok(SMALL),
            Growth::Part => Ok(input.max(arguments)),
            Growth::Text(times) => {
                self.keep(input.saturating_mul(times).saturating_add(arguments), line)
            }
            Growth::List(times) => {
                self.keep(input.saturating_mul(PLACES), line)?;
                self.keep(input.saturating_mul(times).saturating_add(arguments), line)
            }
            Growth::CutOff => self.keep(TEXT_MAX as u64, line),
        }
    }

    fn call(&mut self, called: &Expr<'a>, args: &[CallArg<'a>], line: u16) -> Weight {
        let arguments = self.arguments(args)?;
        match called {
            Expr::Var(name) if name.id == "range" => {
                self.keep(SMALL * RANGE_MAX.unsigned_abs(), line)
            }
            Expr::GetAttr(of) => match (&of.expr, of.name) {
                (Expr::Var(name), "cycle" | "changed") if name.id == "loop" => Ok(arguments),
                _ => Err(format!("line {line}: there is no `{}` to call", of.name)),
            },
            Expr::Var(name) => Err(format!("line {line}: there is no function `{}`", name.id)),
            _ => Err(format!("line {line}: this cannot be called")),
        }
    }

    fn arguments(&mut self, args: &[CallArg<'a>]) -> Weight {
        args.iter().try_fold(0u64, |sum, arg| {
            let (CallArg::Pos(expr)
            | CallArg::Kwarg(_, expr)
            | CallArg::PosSplat(expr)
            | CallArg::KwargSplat(expr)) = arg;
            Ok(sum.saturating_add(self.weigh(expr)?))
        })
    }

    fn collect<'e>(&mut self, items: impl Iterator<Item = &'e Expr<'a>>, line: u16) -> Weight
    where
        'a: 'e,
    {
        let mut sum = SMALL;
        for item in items {
            sum = sum.saturating_add(self.weigh(item)?).saturating_add(SMALL);
        }
        self.make(sum, line)
    }

    /// An operator makes a value that may have `weight` bytes.
    fn make(&mut self, weight: u64, line: u16) -> Weight {
        self.look_through(weight);
        self.keep(weight, line)
    }

    fn keep(&mut self, weight: u64, line: u16) -> Weight {
        self.made = self.made.saturating_add(weight);
        if self.made > MADE_MAX {
            return Err(format!(
                "line {line}: the values of this text may become larger than {} MiB: make them in \
                 expressions, and put them into `data`",
                MADE_MAX >> 20
            ));
        }
        Ok(weight)
    }

    /// Whether an expression's value is a number, or an error, whatever the data is.
    fn is_number(&self, expr: &Expr<'_>) -> bool {
        match expr {
            Expr::Const(of) => of.value.is_number(),
            Expr::UnaryOp(of) => matches!(of.op, UnaryOpKind::Neg),
            Expr::Filter(of) => filters::growth(of.name) == Some(Growth::Number),
            Expr::GetAttr(of) => {
                self.loops > 0
                    && matches!(&of.expr, Expr::Var(name) if name.id == "loop")
                    && matches!(of.name, "index" | "index0" | "revindex" | "revindex0" | "length")
            }
            Expr::BinOp(of) => match of.op {
                BinOpKind::Add | BinOpKind::Mul => {
                    self.is_number(&of.left) && self.is_number(&of.right)
                }
                BinOpKind::Sub
                | BinOpKind::Div
                | BinOpKind::FloorDiv
                | BinOpKind::Rem
                | BinOpKind::Pow => true,
                _ => false,
            },
            _ => false,
        }
    }

    fn look_through(&mut self, weight: u64) {
        self.largest = self.largest.max(weight);
    }
}

fn refused(line: u16, word: &str) -> String {
    format!(
        "line {line}: `{word}` is not for the texts of mails: make the text in an expression, and \
         put it into `data`"
    )
}

fn by_attribute(argument: &CallArg<'_>) -> bool {
    matches!(argument, CallArg::Kwarg("attribute", _))
}
