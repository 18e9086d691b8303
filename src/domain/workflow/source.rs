//! A definition's text as a tree that remembers where everything stands, so that every fault can
//! name its line and column. YAML 1.2 (core schema) and JSON; nothing of the DSL is known here.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use serde_json::{Map, Number, Value as Json};

use super::expr::json::DEPTH_MAX;
use super::fault::{Fault, Faults};
use super::location::Location;

/// Nodes of one document, those that aliases copy counted each time: a definition of 1 MiB has
/// fewer, a bomb of aliases has more.
const NODES_MAX: usize = 100_000;

fn location_of(marker: &Marker) -> Location {
    Location { line: marker.line(), column: marker.col() + 1 }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub place: Location,
    pub content: Content,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One property of a map, in the order of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_place: Location,
    pub value: Node,
}

impl Node {
    /// The property of this name, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    /// The node as plain JSON.
    pub fn to_json(&self) -> Json {
        match &self.content {
            Content::Null => Json::Null,
            Content::Bool(b) => Json::Bool(*b),
            Content::Number(n) => Json::Number(n.clone()),
            Content::Text(text) => Json::String(text.clone()),
            Content::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Content::Map(entries) => {
                let pairs = entries.iter().map(|e| (e.key.clone(), e.value.to_json()));
                Json::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// What kind of value it is, as an author would say it.
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "null",
            Content::Bool(_) => "a boolean",
            Content::Number(_) => "a number",
            Content::Text(_) => "a string",
            Content::List(_) => "a list",
            Content::Map(_) => "an object",
        }
    }
}

/// How a definition is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Yaml,
    Json,
}

/// Reads the text into a tree.
///
/// # Errors
/// The first fault of the syntax, and every key that stands twice in one map.
pub fn read(text: &str, format: Format) -> Result<Node, Faults> {
    if format == Format::Json {
        check_json(text)?;
    }
    let mut builder = Builder::default();
    let built = builder.read(text);
    let mut faults = Faults::default();
    for (place, key) in builder.doubled {
        let detail = format!("`{key}` stands twice in one object");
        faults.push(Fault::at(place, "", detail, "keep one of them"));
    }
    match built {
        Ok(node) if faults.is_empty() => return Ok(node),
        Ok(_) => {}
        // JSON is YAML but for some escapes and very long keys: then there are no places
        Err(_) if format == Format::Json => {
            let json: Json = serde_json::from_str(text).unwrap_or_default();
            return Ok(placeless(&json));
        }
        Err((place, detail)) => {
            faults.push(Fault::at(place, "", detail, remedy(text, place)));
        }
    }
    Err(faults)
}

/// What mends broken YAML, judged by the line at which it broke and the one above.
fn remedy(text: &str, place: Location) -> String {
    let above = text.lines().take(place.line).filter(|line| !line.trim().is_empty());
    let lines: Vec<&str> = above.collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let last = lines.last().copied().unwrap_or_default();
    let earlier = &lines[..lines.len().saturating_sub(1)];
    let tabbed = |line: &&&str| line[..indent(line)].contains('\t');
    if lines.iter().rev().take(2).any(|line| tabbed(&line)) {
        return "indent with spaces; YAML allows no tabs there".to_owned();
    }
    let fits = earlier.iter().any(|line| {
        let item = line.trim_start().starts_with("- ");
        indent(line) == indent(last) || item && indent(line) + 2 == indent(last)
    });
    if !earlier.is_empty() && !fits {
        let columns = indent(last);
        return format!("indent it like one of the lines above; it begins after {columns} spaces");
    }
    if text.trim().is_empty() {
        return "write the definition as YAML 1.2 or JSON".to_owned();
    }
    "look at the indentation of this line and the one above: items of a list begin with `- `, \
     and a text with `: ` or ` #` in it stands in quotes"
        .to_owned()
}

fn check_json(text: &str) -> Result<(), Faults> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(|_| ()).map_err(|e| {
        let place = Location { line: e.line(), column: e.column().max(1) };
        Faults::of(Fault::at(place, "", format!("this is no JSON: {e}"), "mend the syntax"))
    })
}

/// JSON as a tree whose places are unknown; all of it is said to stand at the beginning.
fn placeless(json: &Json) -> Node {
    let place = Location { line: 1, column: 1 };
    let content = match json {
        Json::Null => Content::Null,
        Json::Bool(b) => Content::Bool(*b),
        Json::Number(n) => Content::Number(n.clone()),
        Json::String(text) => Content::Text(text.clone()),
        Json::Array(items) => Content::List(items.iter().map(placeless).collect()),
        Json::Object(fields) => {
            let entries = fields.iter().map(|(key, value)| Entry {
                key: key.clone(),
                key_place: place,
                value: placeless(value),
            });
            Content::Map(entries.collect())
        }
    };
    Node { place, content }
}

type Broken = (Location, String);

/// An open list or map while the parser's events come in.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value, in a map.
    key: Option<(String, Location)>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    doubled: Vec<(Location, String)>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn read(&mut self, text: &str) -> Result<Node, Broken> {
        let mut parser = Parser::new_from_str(text);
        let mut documents = 0;
        while let Some(next) = parser.next_event() {
            let (event, span) = next
                .map_err(|e| (location_of(e.marker()), format!("this is no YAML: {}", e.info())))?;
            let place = location_of(&span.start);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err((place, "a second document begins here".to_owned()));
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let quoted = style != ScalarStyle::Plain
                        || tag.is_some_and(|t| t.is_yaml_core_schema() && t.suffix == "str");
                    let content = if quoted { Content::Text(text.into()) } else { plain(&text) };
                    self.close(Node { place, content }, anchor)?;
                }
                Event::SequenceStart(anchor, _) => {
                    self.start(Node { place, content: Content::List(Vec::new()) }, anchor)?;
                }
                Event::MappingStart(anchor, _) => {
                    self.start(Node { place, content: Content::Map(Vec::new()) }, anchor)?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let done = self.open.pop().expect("the parser ends only what it began");
                    self.close(done.node, done.anchor)?;
                }
                Event::Alias(anchor) => {
                    let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                        return Err((place, "this alias names no anchor before it".to_owned()));
                    };
                    node.place = place;
                    self.nodes += count(&node);
                    self.close(node, 0)?;
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        let start = Location { line: 1, column: 1 };
        self.root.take().ok_or((start, "there is nothing here".to_owned()))
    }

    fn start(&mut self, node: Node, anchor: usize) -> Result<(), Broken> {
        if self.open.len() >= DEPTH_MAX {
            return Err((node.place, format!("it nests deeper than {DEPTH_MAX} levels")));
        }
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    /// Puts a finished node where it belongs: into the open list or map, as a key, or as root.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Broken> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err((node.place, format!("it has more than {NODES_MAX} values")));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.node.content {
            Content::List(items) => items.push(node),
            Content::Map(entries) => match parent.key.take() {
                None => parent.key = Some(key_of(node)?),
                Some((key, key_place)) => {
                    if entries.iter().any(|e| e.key == key) {
                        self.doubled.push((key_place, key));
                    } else {
                        entries.push(Entry { key, key_place, value: node });
                    }
                }
            },
            _ => unreachable!("only lists and maps are opened"),
        }
        Ok(())
    }
}

fn key_of(node: Node) -> Result<(String, Location), Broken> {
    let key = match node.content {
        Content::Text(text) => text,
        Content::Number(number) => number.to_string(),
        Content::Bool(b) => b.to_string(),
        Content::Null => "null".to_owned(),
        Content::List(_) | Content::Map(_) => {
            return Err((node.place, "a key is a text, not a list or an object".to_owned()));
        }
    };
    Ok((key, node.place))
}

fn count(node: &Node) -> usize {
    1 + match &node.content {
        Content::List(items) => items.iter().map(count).sum(),
        Content::Map(entries) => entries.iter().map(|e| count(&e.value)).sum(),
        _ => 0,
    }
}

/// A scalar without quotes, by YAML 1.2's core schema; what JSON cannot say stays a text.
fn plain(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Null,
        "true" | "True" | "TRUE" => return Content::Bool(true),
        "false" | "False" | "FALSE" => return Content::Bool(false),
        _ => {}
    }
    if let Some(number) = plain_number(text) {
        return Content::Number(number);
    }
    Content::Text(text.to_owned())
}

fn plain_number(text: &str) -> Option<Number> {
    let based = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(Number::from);
    if let Some(digits) = text.strip_prefix("0x") {
        return based(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return based(digits, 8);
    }
    let digits = text.trim_start_matches(['+', '-']);
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b))
        && text.len() - digits.len() <= 1;
    if !numeric {
        return None;
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if let Ok(int) = unsigned.parse::<i64>() {
        return Some(Number::from(int));
    }
    if let Ok(int) = unsigned.parse::<u64>() {
        return Some(Number::from(int));
    }
    unsigned.parse::<f64>().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn yaml(text: &str) -> Json {
        read(text, Format::Yaml).unwrap_or_else(|f| panic!("{text}: {f:?}")).to_json()
    }

    fn refused(text: &str, format: Format) -> Fault {
        read(text, format).expect_err(text).into_iter().next().unwrap()
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        assert_eq!(
            yaml("[1, 0x1F, 0o17, -2, 1.5, 1e3, true, ~, 1.0.0, '1', yes, 1-2, 2024-01-01, .5]"),
            json!([
                1,
                31,
                15,
                -2,
                1.5,
                1000.0,
                true,
                null,
                "1.0.0",
                "1",
                "yes",
                "1-2",
                "2024-01-01",
                0.5
            ])
        );
    }

    #[test]
    fn places_are_counted_from_one() {
        let node = read("a:\n  b: 1\n  c: [x, y]\n", Format::Yaml).unwrap();
        let c = node.get("a").and_then(|a| a.get("c")).unwrap();
        assert_eq!(c.place, Location { line: 3, column: 6 });
    }

    #[test]
    fn aliases_are_copies_up_to_a_bound() {
        assert_eq!(yaml("a: &x {n: 1}\nb: *x"), json!({"a": {"n": 1}, "b": {"n": 1}}));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let items = vec![format!("*a{}", n - 1); 10].join(", ");
            bomb.push_str(&format!("a{n}: &a{n} [{items}]\n"));
        }
        assert!(refused(&bomb, Format::Yaml).detail.contains("more than"));
    }

    #[test]
    fn faults_say_where() {
        let doubled = refused("a: 1\nb: 2\na: 3\n", Format::Yaml);
        assert_eq!((doubled.line, doubled.column), (3, 1));
        assert!(refused("a: [1", Format::Yaml).detail.contains("no YAML"));
        assert!(refused("", Format::Yaml).detail.contains("nothing"));
        let json = refused("{\n \"a\": }", Format::Json);
        assert_eq!(json.line, 2);
        assert!(refused("a: 1\n---\nb: 2", Format::Yaml).detail.contains("second document"));
        assert!(refused(&"[".repeat(100), Format::Yaml).detail.contains("nests deeper"));
    }

    #[test]
    fn json_that_yaml_would_not_read() {
        let text = "{\"smile\": \"\\ud83d\\ude00\", \"tab\":\t1}";
        assert_eq!(read(text, Format::Json).unwrap().to_json(), json!({"smile": "😀", "tab": 1}));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-c:\\-\\[\\]{}&*!|>'\"#%@, \n\t0-9.]{0,60}") {
            let _ = read(&text, Format::Yaml);
            let _ = read(&text, Format::Json);
        }

        #[test]
        fn json_keeps_its_meaning(text in "[\\PC\"\\\\]{0,20}", number in any::<i64>()) {
            let json = json!({"t": text, "n": [number, null, true]});
            let read = read(&json.to_string(), Format::Json).unwrap().to_json();
            prop_assert_eq!(read, json);
        }
    }
}
