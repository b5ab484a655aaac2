//! `cargo xtask gen`: the files that are printed from the sources and checked in.
//!
//! Adding one is adding a row to [`GENERATORS`]; `check` then fails whenever the file on disk is stale.

use crate::{setup, sh};

/// A generated file: where it is, what must exist for it to be made, and what makes it.
struct Generator {
    file: &'static str,
    needs: &'static str,
    make: fn() -> Result<String, String>,
}

/// All of them.
const GENERATORS: &[Generator] =
    &[Generator { file: "include/keystead.h", needs: "bindings-c/cbindgen.toml", make: c_header }];

/// The version whose output is checked in: another may print other white space.
const CBINDGEN: &str = "0.29.4";

/// Writes every generated file whose source exists.
pub fn run() -> Result<(), String> {
    for (generator, text) in made()? {
        let path = sh::root().join(generator.file);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            println!("   gen       {} is fresh", generator.file);
            continue;
        }
        std::fs::create_dir_all(path.parent().expect("a file has a folder"))
            .map_err(|error| error.to_string())?;
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", generator.file))?;
        println!("   gen       {} written", generator.file);
    }
    Ok(())
}

/// The files that `run` would change; nothing is written.
pub fn stale() -> Result<Vec<&'static str>, String> {
    let is_stale =
        |file: &str, text: &str| std::fs::read_to_string(sh::root().join(file)).ok().as_deref() != Some(text);
    Ok(made()?
        .into_iter()
        .filter(|(g, text)| is_stale(g.file, text))
        .map(|(generator, _)| generator.file)
        .collect())
}

fn made() -> Result<Vec<(&'static Generator, String)>, String> {
    let ready = GENERATORS.iter().filter(|generator| sh::root().join(generator.needs).exists());
    ready.map(|generator| Ok((generator, (generator.make)()?))).collect()
}

fn c_header() -> Result<String, String> {
    let tool = setup::cargo_tool("cbindgen", "cbindgen", CBINDGEN)?;
    let out = sh::target().join("xtask/keystead.h");
    let path = out.to_string_lossy();
    let arguments = ["--quiet", "--config", "bindings-c/cbindgen.toml", "--output", &path, "bindings-c"];
    sh::run("gen", &mut sh::program(tool, &arguments))?.ok("cbindgen")?;
    std::fs::read_to_string(&out).map_err(|error| format!("{path}: {error}"))
}
