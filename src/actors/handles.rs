//! What the API may name of the actors.
