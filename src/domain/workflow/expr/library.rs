//! The part of jq's library that is written in jq, cut to what an expression uses.
//!
//! Compiling the whole library into every expression would cost 120 KB each; an expression gets
//! the definitions that it names, and those that these name.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use jaq_core::load::parse::Def;

use super::guard::guard_term;
use super::scan::Named;

/// Definitions that lead to natives which are taken out (see `natives.rs`).
const TAKEN_OUT: [&str; 5] = ["stderr", "debug", "halt", "halt_error", "get_search_list"];

type Signature = (String, usize);

struct Library {
    defs: Vec<Def<&'static str>>,
    /// What each definition calls.
    calls: Vec<BTreeSet<Signature>>,
    /// Places of the definitions with one name and number of arguments, in order.
    places: HashMap<Signature, Vec<usize>>,
}

fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let all = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let all = all.filter(|def| !TAKEN_OUT.contains(&def.name));
        let ours = jaq_core::load::parse(include_str!("defs.jq"), |p| p.defs());
        let mut defs: Vec<_> = all.chain(ours.unwrap_or_default()).collect();
        let calls = defs.iter().map(|def| Named::in_def(def).calls).collect();
        // only what defines functions of its own can recurse
        defs.iter_mut().for_each(|def| guard_term(&mut def.body));
        let mut places: HashMap<Signature, Vec<usize>> = HashMap::new();
        for (place, def) in defs.iter().enumerate() {
            let signature = (def.name.to_owned(), def.args.len());
            places.entry(signature).or_default().push(place);
        }
        Library { defs, calls, places }
    })
}

/// The definitions behind `calls`, in the library's order, and the natives they need by name.
pub fn definitions_for(
    calls: &BTreeSet<Signature>,
) -> (Vec<Def<&'static str>>, BTreeSet<Signature>) {
    let library = library();
    let mut wanted = BTreeSet::new();
    let mut named = BTreeSet::new();
    let mut open: Vec<Signature> = calls.iter().cloned().collect();
    while let Some(signature) = open.pop() {
        if !named.insert(signature.clone()) {
            continue;
        }
        for &place in library.places.get(&signature).into_iter().flatten() {
            if wanted.insert(place) {
                open.extend(library.calls[place].iter().cloned());
            }
        }
    }
    (wanted.into_iter().map(|place| library.defs[place].clone()).collect(), named)
}

/// Names that an expression may call, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    library().defs.iter().map(|def| def.name)
}
