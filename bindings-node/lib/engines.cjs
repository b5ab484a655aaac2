// The engines that clients share: by a name, by the address that they were given in place of one, or by a folder.
// What is in them, and what their options mean, is the engine's affair.
"use strict";

const native = require("./native.cjs");
const { configOf } = require("./cache.cjs");
const { pathOf, text, usage } = require("./usage.cjs");

/** Engines once opened by a client stay, as a server would, whether or not a client is connected; not those in folders, whose data stays anyway. */
const kept = new Map();

/** The name under which clients share an engine: theirs, or what stands for the address they were given. */
function nameOf({ name, path, host, port }) {
  return name ?? path ?? `${host ?? "localhost"}:${port ?? 6379}`;
}

/** The folder that the options name, whole: what a relative one stands for is said now, not at a later connect. */
function dataPathOf({ dataPath, name }) {
  if (dataPath === undefined) return undefined;
  if (typeof name === "string") throw usage("name and dataPath exclude each other: a path is found by all who open it");
  return pathOf(dataPath, "dataPath");
}

/** A handle on the engine that a client's options name. */
function openEngine(options) {
  if (options.dataPath !== undefined) return native.open(undefined, options.dataPath, ...configOf(options));
  const name = text(nameOf(options), "name");
  if (!kept.has(name)) kept.set(name, native.open(name, undefined, ...configOf(options)));
  return native.duplicate(kept.get(name));
}

module.exports = { dataPathOf, openEngine };
