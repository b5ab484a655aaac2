//! The stage `plugins`: packages of the ecosystem do real work on the engine, in process and over a socket, in environments of their own.

use crate::count::Count;
use crate::test::{copy_files, fresh_folder, npm, only_file, pack_npm, tests, wheel};
use crate::{setup, sh};
use std::path::PathBuf;

/// The tests of Python's plug-ins, and what they need.
const PYTHON: &str = "bindings-python/plugins";
/// The tests of Node's plug-ins, with a manifest and a lock file.
const NODE: &str = "bindings-node/plugins";

/// Runs what there is of the two halves; nothing if there is none.
pub fn run() -> Result<Option<Count>, String> {
    let is_there = |folder: &str| sh::root().join(folder).is_dir();
    let mut sum = None;
    for (folder, half) in [(PYTHON, python as fn() -> Result<Count, String>), (NODE, node)] {
        if is_there(folder) {
            *sum.get_or_insert(Count::default()) += half()?;
        }
    }
    Ok(sum)
}

/// Installs the wheel beside the pinned packages, and runs the tests, which unpack the suites that packages bring.
fn python() -> Result<Count, String> {
    let source = sh::root().join(PYTHON);
    let environment = setup::pinned_venv("venv-plugins", &source.join("requirements.txt"))?;
    let wheel = wheel("plugins")?.to_string_lossy().into_owned();
    let install =
        ["install", "--quiet", "--disable-pip-version-check", "--force-reinstall", "--no-deps", &wheel];
    sh::run("plugins", &mut sh::program(environment.join("pip"), &install))?.ok("pip install")?;
    let mut pytest = sh::program(environment.join("python"), &["-m", "pytest", "-q"]);
    pytest.arg(&source).arg("--config-file").arg(source.join("pytest.ini"));
    pytest.current_dir(fresh_folder("plugins")?).env("KEYSTEAD_SUITES", suites()?);
    tests("plugins", &mut pytest)
}

/// The folder of source packages whose own tests are run.
fn suites() -> Result<PathBuf, String> {
    let list = sh::root().join(PYTHON).join("suites.txt");
    let folder = sh::target().join("suites");
    if !setup::is_fresh(&folder, &[&list]) {
        let _ = std::fs::remove_dir_all(&folder);
        let pip = setup::pinned_venv("venv-plugins", &sh::root().join(PYTHON).join("requirements.txt"))?;
        let (list_text, folder_text) = (list.to_string_lossy(), folder.to_string_lossy());
        let words =
            ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"];
        let mut download = sh::program(pip.join("pip"), &words);
        download.args(["--requirement", &list_text, "--dest", &folder_text]);
        sh::run("plugins", &mut download)?.ok("pip download")?;
        setup::stamp(&folder, &[&list])?;
    }
    Ok(folder)
}

/// Installs the tarball beside the pinned packages in a fresh folder, and runs `npm test` there.
fn node() -> Result<Count, String> {
    let folder = fresh_folder("plugins-node")?;
    copy_files(&sh::root().join(NODE), &folder)?;
    let packed = fresh_folder("plugins-package")?;
    pack_npm("plugins", &packed)?;
    let tarball = only_file(&packed, "tgz")?.to_string_lossy().into_owned();
    npm("plugins", &["ci", "--no-audit", "--no-fund"], &folder)?;
    npm("plugins", &["install", "--no-save", "--no-audit", "--no-fund", &tarball], &folder)?;
    let mut run = sh::program("npm", &["test"]);
    tests("plugins", run.current_dir(&folder).env("KEYSTEAD_ORACLE", setup::oracle()?))
}
