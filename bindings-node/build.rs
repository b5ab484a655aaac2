//! Linker flags of a Node addon.
//!
//! The package itself is put together by `scripts/build.mjs`.

fn main() {
    napi_build::setup();
}
