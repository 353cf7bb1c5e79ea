//! The cases, in one binary.
