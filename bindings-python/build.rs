//! Tells the compiler which kind of interpreter the module is built for.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
