//! The shapes of what is listened for: which parts of an event its listeners are found by.

use std::collections::HashMap;

use crate::store::views::events::{Shape, Short};
use crate::store::views::{TableError, Views};

/// All shapes, by what they are found by.
pub struct Shapes(pub HashMap<Short, Shape>);

impl Shapes {
    /// The shapes that the views hold.
    pub fn load(views: &Views) -> Result<Self, TableError> {
        Ok(Self(views.shapes()?.into_iter().map(|shape| (shape.key(), shape)).collect()))
    }
}
