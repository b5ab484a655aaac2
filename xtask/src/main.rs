//! The project's one entry point for everything repetitive.

fn main() {}
