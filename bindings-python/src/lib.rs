//! The native half of the Python package: module `keystead._keystead`.
//!
//! The public face is the Python code in `python/keystead`; the engine's behaviour is in the crate `keystead`. Methods
//! called often are listed in `hot_methods!` tables and bypass PyO3's argument handling (see [`hot`]); all others are plain PyO3.

mod arguments;
mod bodies;
mod cache;
mod digest;
mod engine;
mod errors;
mod exit;
mod hot;
mod link;
mod listener;
mod live;
mod loads;
mod memo;
mod memory;
mod methods;
mod pipeline;
mod program;
mod readiness;
mod reply;
mod sessions;
mod store;
mod value;
mod waiting;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _keystead(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Types and exceptions are kept in statics: those of one interpreter are no use to another.
    if !hot::is_main_interpreter(module.py())? {
        return Err(PyImportError::new_err("keystead can't be imported in a subinterpreter"));
    }
    module.add_class::<engine::PyEngine>()?;
    module.add_class::<listener::PyListener>()?;
    module.add_class::<store::Store>()?;
    module.add_class::<store::AsyncStore>()?;
    module.add_class::<cache::Cache>()?;
    module.add_class::<cache::AsyncCache>()?;
    module.add("Cached", hot::callable_type::<memo::Memo>(module.py())?)?;
    module.add_class::<loads::Load>()?;
    module.add_class::<loads::Wait>()?;
    module.add("within", loads::within(module.py())?)?;
    module.add_class::<loads::Found>()?;
    module.add_function(wrap_pyfunction!(loads::begin_load, module)?)?;
    module.add_function(wrap_pyfunction!(loads::load_counts, module)?)?;
    module.add_function(wrap_pyfunction!(memo::cached, module)?)?;
    module.add_function(wrap_pyfunction!(memo::cached_object, module)?)?;
    module.add_function(wrap_pyfunction!(memo::arguments_key, module)?)?;
    module.add_function(wrap_pyfunction!(memo::cached_key, module)?)?;
    module.add_class::<pipeline::Pipeline>()?;
    module.add_class::<sessions::Client>()?;
    module.add_class::<link::Link>()?;
    module.add_class::<waiting::Later>()?;
    module.add("CachedResult", hot::callable_type::<digest::CachedResult>(module.py())?)?;
    module.add_class::<digest::ResultStore>()?;
    module.add_function(wrap_pyfunction!(digest::cached_result, module)?)?;
    module.add_function(wrap_pyfunction!(digest::cached_result_state, module)?)?;
    module.add_function(wrap_pyfunction!(link::pack, module)?)?;
    module.add_function(wrap_pyfunction!(program::main, module)?)?;
    module.add_function(wrap_pyfunction!(value::is_plain_json, module)?)?;
    module.add_function(wrap_pyfunction!(engine::panic_for_test, module)?)?;
    module.add_function(wrap_pyfunction!(methods::own_methods, module)?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    exit::register(module)?;
    keystead::backend::set_waiter(exit::outside);
    // PyO3 imports these when they are asked for first, and panics where that can't be done: when Python ends.
    drop((module.py().get_type::<PyAny>(), module.py().get_type::<pyo3::types::PyMapping>()));
    methods::install(module.py())
}
