//! How a parameter's value is written: OpenAPI 3's styles and Swagger 2.0's collection formats.

use serde_json::Value as Json;

use super::uri::scalar;

/// How the values of a list or object are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joint {
    /// Each value on its own, under the same name.
    Repeated,
    /// One text, with this between the values.
    With(&'static str),
    /// `name[property]=value`.
    DeepObject,
}

/// The joint of a parameter as its description has it, for a query (`true`) or elsewhere.
pub fn joint(parameter: &Json, in_query: bool) -> Joint {
    if let Some(format) = parameter.get("collectionFormat").and_then(Json::as_str) {
        return match format {
            "multi" => Joint::Repeated,
            "ssv" => Joint::With(" "),
            "tsv" => Joint::With("\t"),
            "pipes" => Joint::With("|"),
            _ => Joint::With(","),
        };
    }
    // Swagger 2.0 puts the type beside the name, OpenAPI 3 a schema
    let swagger = parameter.get("schema").is_none() && parameter.get("type").is_some();
    if swagger || !in_query {
        return Joint::With(",");
    }
    let style = parameter.get("style").and_then(Json::as_str).unwrap_or("form");
    let explode = parameter.get("explode").and_then(Json::as_bool).unwrap_or(style == "form");
    match style {
        "spaceDelimited" if !explode => Joint::With(" "),
        "pipeDelimited" if !explode => Joint::With("|"),
        "deepObject" => Joint::DeepObject,
        _ if explode => Joint::Repeated,
        _ => Joint::With(","),
    }
}

/// The pairs that a value becomes under a name.
///
/// # Errors
/// When the value nests deeper than a parameter can say.
pub fn written(name: &str, value: &Json, joint: Joint) -> Result<Vec<(String, String)>, String> {
    let one = |value: &Json| {
        scalar(value).ok_or_else(|| format!("the parameter `{name}` nests too deep"))
    };
    Ok(match (value, joint) {
        (Json::Array(items), Joint::With(between)) => {
            let texts: Result<Vec<String>, String> = items.iter().map(one).collect();
            vec![(name.to_owned(), texts?.join(between))]
        }
        (Json::Array(items), _) => {
            let pair = |item| Ok((name.to_owned(), one(item)?));
            items.iter().map(pair).collect::<Result<_, String>>()?
        }
        (Json::Object(fields), Joint::DeepObject) => {
            let pair = |(key, value): (&String, &Json)| Ok((format!("{name}[{key}]"), one(value)?));
            fields.iter().map(pair).collect::<Result<_, String>>()?
        }
        (Json::Object(fields), Joint::Repeated) => {
            let pair = |(key, value): (&String, &Json)| Ok((key.clone(), one(value)?));
            fields.iter().map(pair).collect::<Result<_, String>>()?
        }
        (Json::Object(fields), Joint::With(between)) => {
            let mut texts = Vec::new();
            for (key, value) in fields {
                texts.push(key.clone());
                texts.push(one(value)?);
            }
            vec![(name.to_owned(), texts.join(between))]
        }
        (plain, _) => vec![(name.to_owned(), one(plain)?)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(parameter: Json, value: Json, expected: &[&str]) {
        let pairs = written("p", &value, joint(&parameter, true)).unwrap();
        let texts: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn swagger_collections() {
        let swagger = |format: &str| json!({"type": "array", "collectionFormat": format});
        check(swagger("multi"), json!(["a", "b"]), &["p=a", "p=b"]);
        check(swagger("csv"), json!(["a", "b"]), &["p=a,b"]);
        check(swagger("ssv"), json!(["a", "b"]), &["p=a b"]);
        check(swagger("tsv"), json!(["a", "b"]), &["p=a\tb"]);
        check(swagger("pipes"), json!(["a", "b"]), &["p=a|b"]);
        check(json!({"type": "array"}), json!(["a", "b"]), &["p=a,b"]);
        check(swagger("multi"), json!("a"), &["p=a"]);
    }

    #[test]
    fn openapi_styles() {
        let style =
            |style: &str, explode: bool| json!({"schema": {}, "style": style, "explode": explode});
        check(json!({"schema": {}}), json!(["a", "b"]), &["p=a", "p=b"]);
        check(style("form", false), json!(["a", "b"]), &["p=a,b"]);
        check(style("spaceDelimited", false), json!([1, 2]), &["p=1 2"]);
        check(style("pipeDelimited", false), json!([1, 2]), &["p=1|2"]);
        check(style("deepObject", true), json!({"a": 1}), &["p[a]=1"]);
        check(style("form", true), json!({"a": 1}), &["a=1"]);
        check(style("form", false), json!({"a": 1}), &["p=a,1"]);
    }

    #[test]
    fn what_nests_deeper_is_refused() {
        assert!(written("p", &json!([[1]]), Joint::Repeated).is_err());
    }
}
