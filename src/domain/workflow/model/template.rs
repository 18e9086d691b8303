//! Values with expressions in them.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::domain::time::Duration;
use crate::domain::workflow::expr::Expr;

/// A value of which any string may be an expression (`${ … }`).
#[derive(Clone, Debug, PartialEq)]
pub enum Template {
    Literal(Arc<Json>),
    Expr(Expr),
    List(Vec<Template>),
    Map(Vec<(String, Template)>),
}

impl Template {
    /// The value, each expression replaced by what `evaluate` makes of it.
    ///
    /// # Errors
    /// The first error of `evaluate`.
    pub fn render<E>(
        &self,
        evaluate: &mut impl FnMut(&Expr) -> Result<Json, E>,
    ) -> Result<Json, E> {
        Ok(match self {
            Self::Literal(json) => (**json).clone(),
            Self::Expr(expr) => evaluate(expr)?,
            Self::List(items) => {
                let all: Result<_, E> = items.iter().map(|t| t.render(evaluate)).collect();
                Json::Array(all?)
            }
            Self::Map(fields) => {
                let mut map = serde_json::Map::new();
                for (key, template) in fields {
                    map.insert(key.clone(), template.render(evaluate)?);
                }
                Json::Object(map)
            }
        })
    }

    /// Whether it gives back what it is given, so that nothing need be evaluated or stored.
    pub fn is_identity(&self) -> bool {
        matches!(self, Self::Expr(expr) if expr.is_identity())
    }

    /// The expressions inside, in order.
    pub fn exprs(&self) -> Vec<&Expr> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Expr(expr) => vec![expr],
            Self::List(items) => items.iter().flat_map(Self::exprs).collect(),
            Self::Map(fields) => fields.iter().flat_map(|(_, t)| t.exprs()).collect(),
        }
    }

    /// The literal string, if it is one.
    pub fn literal_text(&self) -> Option<&str> {
        match self {
            Self::Literal(json) => json.as_str(),
            Self::Expr(_) | Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// A duration, fixed or from an expression that yields an ISO 8601 text.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    Fixed(Duration),
    Expr(Expr),
}
