//! Merges two versions of a list whose elements matter more than their order: tags, members.
