// Builds the native half with cargo and puts it beside the JavaScript, as keystead.node.
// Packing and publishing are npm's; users of the tarball need neither cargo nor this script.

import { spawnSync } from "node:child_process";
import { copyFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = dirname(dirname(fileURLToPath(import.meta.url)));
const profile = process.env.KEYSTEAD_PROFILE ?? "release";
const LIBRARY = { linux: "libkeystead_node.so", darwin: "libkeystead_node.dylib", win32: "keystead_node.dll" };

/** The path of the library, as cargo itself tells it. */
function build() {
  const words = ["build", "-p", "keystead-node", "--profile", profile, "--message-format", "json-render-diagnostics"];
  const cargo = spawnSync(process.env.CARGO ?? "cargo", words, {
    cwd: folder,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (cargo.error) throw cargo.error;
  if (cargo.status !== 0) process.exit(cargo.status ?? 1);
  const artifacts = cargo.stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  const files = artifacts.flatMap((artifact) => artifact.filenames ?? []);
  const library = files.find((file) => file.endsWith(LIBRARY[process.platform] ?? LIBRARY.linux));
  if (!library) throw new Error("cargo built no library");
  return library;
}

// Never written in place: a process that has the old file loaded keeps it.
const target = join(folder, "keystead.node");
copyFileSync(build(), `${target}.new`);
rmSync(target, { force: true });
renameSync(`${target}.new`, target);
console.log(`built ${target} (${profile})`);
