//! What an admin picks from: kinds of tasks, and ordered lists of them. A case keeps its own copy.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::plan::wanted::Due;
use crate::domain::data::Data;

/// Kinds of tasks, and templates of them.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Catalogue {
    pub tasks: Vec<TaskType>,
    pub templates: Vec<Template>,
}

/// A kind of task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskType {
    pub name: Arc<str>,
    pub skill: Arc<str>,
    pub minutes: u32,
    #[serde(default)]
    pub instructions: Option<Arc<str>>,
    /// A JSON Schema of the outcome.
    #[serde(default)]
    pub form: Option<Data>,
    #[serde(default)]
    pub due: Option<Due>,
}

/// An ordered list of tasks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    pub name: Arc<str>,
    pub tasks: Vec<Arc<str>>,
}
