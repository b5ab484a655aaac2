// Runs the tests of the plug-ins on the package as it is built beside them: `node run.mjs [file ...]`, once `npm ci` has run here and there.
// What is tested is in `test/`; nothing is installed here.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = dirname(fileURLToPath(import.meta.url));
const keystead = dirname(folder);
const link = join(folder, "node_modules", "keystead");

// A package installed there, such as a tarball, is what is tested; otherwise it is the one beside this folder, for as long as the tests run.
const isLinked = !existsSync(link);
if (isLinked) {
  if (!existsSync(join(keystead, "keystead.node"))) throw new Error("the package is not built: run `npm ci && npm run build` in bindings-node");
  symlinkSync(keystead, link, "junction");
}
const named = process.argv.slice(2);
const all = readdirSync(join(folder, "test")).filter((name) => name.endsWith(".test.mjs"));
const files = (named.length > 0 ? named : all.map((name) => join("test", name))).sort();
const words = ["--test", "--test-reporter", "tap", ...files];
const { status } = spawnSync(process.execPath, words, { cwd: folder, stdio: "inherit" });
if (isLinked) rmSync(link, { force: true });
process.exit(status ?? 1);
