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
    let printed = std::fs::read_to_string(&out).map_err(|error| format!("{path}: {error}"))?;
    let code = sh::root().join("bindings-c/src/command.h");
    let code = std::fs::read_to_string(code).map_err(|error| format!("command.h: {error}"))?;
    within_guard(&printed, &code)
}

/// A printed header with C code at its end, without the comment at the code's head: inside the guard, so that a header included twice has it once.
fn within_guard(header: &str, code: &str) -> Result<String, String> {
    const END: &str = "#endif  /* KEYSTEAD_H */\n";
    let head = header.strip_suffix(END).ok_or("the header does not end with its guard")?;
    let (_, code) = code.split_once("*/\n").ok_or("the code has no comment at its head")?;
    Ok(format!("{head}{}\n{END}", code.trim_start_matches('\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_goes_into_the_guard() {
        let header = "#ifndef KEYSTEAD_H\nint a;\n\n#endif  /* KEYSTEAD_H */\n";
        let code = "/* Says what it is. */\n\n/* f */\nint f(void);\n";
        assert_eq!(
            within_guard(header, code).unwrap(),
            "#ifndef KEYSTEAD_H\nint a;\n\n/* f */\nint f(void);\n\n#endif  /* KEYSTEAD_H */\n"
        );
        assert!(within_guard("int a;\n", code).is_err());
    }
}
