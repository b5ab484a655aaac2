//! Derives of the engine's command table.
