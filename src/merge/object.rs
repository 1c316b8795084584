//! Merges two versions of a nested object.
