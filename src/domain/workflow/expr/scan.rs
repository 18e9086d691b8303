//! What an expression names, read off its syntax tree: functions, variables, and whether it can
//! run long. Nothing is evaluated.

use std::collections::BTreeSet;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Part, Path};

/// Functions that always end, in time linear (or sorted) in what they are given. An expression
/// of only these, paths, operators and constructors runs where it stands.
const TOTAL: &[&str] = &[
    "abs",
    "add",
    "all",
    "any",
    "arrays",
    "ascii_downcase",
    "ascii_upcase",
    "booleans",
    "ceil",
    "contains",
    "del",
    "empty",
    "endswith",
    "error",
    "explode",
    "false",
    "finites",
    "first",
    "floor",
    "from_entries",
    "fromdate",
    "fromdateiso8601",
    "group_by",
    "has",
    "implode",
    "in",
    "index",
    "indices",
    "infinite",
    "inside",
    "isarray",
    "isboolean",
    "isempty",
    "isinfinite",
    "isnan",
    "isnormal",
    "isnumber",
    "isobject",
    "isstring",
    "iterables",
    "join",
    "keys",
    "keys_unsorted",
    "last",
    "length",
    "log",
    "log10",
    "log2",
    "ltrim",
    "ltrimstr",
    "map",
    "map_values",
    "max",
    "max_by",
    "min",
    "min_by",
    "mktime",
    "not",
    "nth",
    "null",
    "nulls",
    "numbers",
    "objects",
    "pick",
    "pow",
    "reverse",
    "rindex",
    "round",
    "rtrim",
    "rtrimstr",
    "scalars",
    "select",
    "sort",
    "sort_by",
    "split",
    "sqrt",
    "startswith",
    "strftime",
    "strings",
    "strptime",
    "to_entries",
    "toboolean",
    "todate",
    "todateiso8601",
    "tojson",
    "tonumber",
    "tostring",
    "transpose",
    "trim",
    "true",
    "type",
    "unique",
    "unique_by",
    "utf8bytelength",
    "values",
    "with_entries",
    "@text",
    "@json",
    "@html",
    "@uri",
    "@base64",
    "@base64d",
    "@sh",
    "@csv",
    "@tsv",
    "IN",
    "INDEX",
    "debug",
    "gmtime",
    "now",
    "toarray",
    "trimstr",
];

/// How deep a syntax tree nests, without going down it step by step: it may be deeper than a stack.
pub fn depth(term: &Term<&str>) -> usize {
    let mut deepest = 0;
    let mut open = vec![(term, 1)];
    while let Some((term, depth)) = open.pop() {
        deepest = deepest.max(depth);
        let mut below = |term| open.push((term, depth + 1));
        match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
            Term::Str(_, parts) => {
                for part in parts {
                    if let StrPart::Term(term) = part {
                        below(term);
                    }
                }
            }
            Term::Arr(inner) => inner.iter().for_each(|term| below(term)),
            Term::Obj(pairs) => {
                for (key, value) in pairs {
                    below(key);
                    value.iter().for_each(&mut below);
                }
            }
            Term::Neg(inner) | Term::Label(_, inner) => below(inner),
            Term::BinOp(left, _, right) => {
                below(left);
                below(right);
            }
            Term::Fold(_, over, _, rest) => {
                below(over);
                rest.iter().for_each(below);
            }
            Term::TryCatch(body, catch) => {
                below(body);
                catch.iter().for_each(|term| below(term));
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, then) in branches {
                    below(condition);
                    below(then);
                }
                otherwise.iter().for_each(|term| below(term));
            }
            Term::Def(defs, body) => {
                defs.iter().for_each(|def| below(&def.body));
                below(body);
            }
            Term::Call(_, arguments) => arguments.iter().for_each(below),
            Term::Path(head, path) => {
                below(head);
                for (part, _) in &path.0 {
                    match part {
                        Part::Index(index) => below(index),
                        Part::Range(from, to) => from.iter().chain(to).for_each(&mut below),
                    }
                }
            }
        }
    }
    deepest
}

/// Everything that one syntax tree names.
#[derive(Debug, Default)]
pub struct Named {
    /// Functions called, with their number of arguments.
    pub calls: BTreeSet<(String, usize)>,
    /// Variables used, with the field asked of them where it is a plain one (`$workflow.id`).
    pub vars: Vec<(String, Option<String>)>,
    /// Variables that it binds itself (`as $x`, `def f($x)`).
    pub bound: BTreeSet<String>,
    /// It can run for long: it recurses, folds, or calls a function that is not known to end.
    pub long: bool,
}

impl Named {
    /// Reads a whole expression.
    pub fn in_term(term: &Term<&str>) -> Self {
        let mut named = Self::default();
        named.term(term);
        named
    }

    /// Reads the body of a definition of the library.
    pub fn in_def(def: &Def<&str>) -> Self {
        Self::in_term(&def.body)
    }

    fn term(&mut self, term: &Term<&str>) {
        match term {
            Term::Id | Term::Num(_) | Term::Break(_) => {}
            Term::Recurse => self.long = true,
            Term::Str(format, parts) => {
                if let Some(format) = format {
                    self.call(format, 0);
                }
                for part in parts {
                    if let StrPart::Term(term) = part {
                        self.term(term);
                    }
                }
            }
            Term::Arr(inner) => inner.iter().for_each(|t| self.term(t)),
            Term::Obj(pairs) => {
                for (key, value) in pairs {
                    self.term(key);
                    value.iter().for_each(|t| self.term(t));
                }
            }
            Term::Neg(inner) | Term::Label(_, inner) => self.term(inner),
            Term::BinOp(left, op, right) => {
                self.term(left);
                if let BinaryOp::Pipe(Some(pattern)) = op {
                    self.pattern(pattern);
                }
                self.term(right);
            }
            Term::Fold(_, over, pattern, rest) => {
                self.long = true;
                self.term(over);
                self.pattern(pattern);
                rest.iter().for_each(|t| self.term(t));
            }
            Term::TryCatch(body, catch) => {
                self.term(body);
                catch.iter().for_each(|t| self.term(t));
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, then) in branches {
                    self.term(condition);
                    self.term(then);
                }
                otherwise.iter().for_each(|t| self.term(t));
            }
            Term::Def(defs, body) => {
                self.long = true;
                for def in defs {
                    let arguments = def.args.iter().filter(|name| name.starts_with('$'));
                    self.bound.extend(arguments.map(|name| (*name).to_owned()));
                    self.term(&def.body);
                }
                self.term(body);
            }
            Term::Call(name, arguments) => {
                self.call(name, arguments.len());
                arguments.iter().for_each(|t| self.term(t));
            }
            Term::Var(name) => self.vars.push(((*name).to_owned(), None)),
            Term::Path(head, path) => self.path(head, path),
        }
    }

    fn path(&mut self, head: &Term<&str>, Path(parts): &Path<Term<&str>>) {
        let field = parts.first().and_then(|(part, _)| plain_key(part));
        match head {
            Term::Var(name) => self.vars.push(((*name).to_owned(), field)),
            other => self.term(other),
        }
        for (part, _) in parts {
            match part {
                Part::Index(index) => self.term(index),
                Part::Range(from, to) => from.iter().chain(to).for_each(|t| self.term(t)),
            }
        }
    }

    fn pattern(&mut self, pattern: &Pattern<&str>) {
        match pattern {
            Pattern::Var(name) => {
                self.bound.insert((*name).to_owned());
            }
            Pattern::Arr(items) => items.iter().for_each(|p| self.pattern(p)),
            Pattern::Obj(pairs) => {
                for (key, value) in pairs {
                    self.term(key);
                    self.pattern(value);
                }
            }
        }
    }

    fn call(&mut self, name: &str, arguments: usize) {
        let total = TOTAL.contains(&name) && !(name == "split" && arguments > 1);
        let total = total && !(name == "nth" && arguments > 1);
        self.long |= !total;
        self.calls.insert((name.to_owned(), arguments));
    }
}

/// The key of `.key`, `."key"` or `["key"]`.
pub fn plain_key(part: &Part<Term<&str>>) -> Option<String> {
    match part {
        Part::Index(Term::Str(None, parts)) => match &parts[..] {
            [StrPart::Str(key)] => Some((*key).to_owned()),
            [] => Some(String::new()),
            _ => None,
        },
        Part::Index(_) | Part::Range(..) => None,
    }
}
