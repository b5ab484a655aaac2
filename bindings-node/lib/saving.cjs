// Snapshots of an engine, written and restored by another thread: what `Cache.snapshot` and `Cache.restore` do.
// What a snapshot holds, and what stays as it was after an error, is the engine's affair.
"use strict";

const native = require("./native.cjs");
const { pathOf, usage } = require("./usage.cjs");

/** Waits for what was begun, and throws what it failed by. */
async function finished(work) {
  const [code, message] = await work;
  if (code === undefined) return;
  throw code === "KS_ERR_USAGE" ? usage(message) : Object.assign(new Error(message), { code });
}

const snapshot = async (handle, path) => finished(native.snapshot(handle, pathOf(path, "path")));

const restore = async (handle, path) => finished(native.restore(handle, pathOf(path, "path")));

module.exports = { restore, snapshot };
