// Errors of callers, and the checks of options that all methods share.
// What the engine itself refuses is thrown natively, with the same codes.
"use strict";

const { resolve } = require("node:path");
const { fileURLToPath } = require("node:url");

/** An error with a code of the engine's table. */
function usage(message) {
  return Object.assign(new TypeError(message), { code: "KS_ERR_USAGE" });
}

/** The longest time to live in milliseconds that numbers hold exactly. */
const LONGEST = Number.MAX_SAFE_INTEGER;

/** Seconds as milliseconds, at least one; none is 0. */
function milliseconds(ttl) {
  if (ttl === undefined || ttl === null) return 0;
  if (typeof ttl !== "number" || !(ttl > 0)) throw usage("ttl must be a number of seconds above 0");
  const time = Math.max(1, Math.round(ttl * 1000));
  if (time > LONGEST) throw usage("ttl is too long");
  return time;
}

/** Options as an object, all of whose names are known. */
function known(options, names) {
  if (options === undefined || options === null) return {};
  if (typeof options !== "object" || Array.isArray(options)) throw usage("the options must be an object");
  for (const name in options) {
    if (!names.includes(name)) throw usage(`there is no option ${JSON.stringify(name)}, only ${names.join(", ")}`);
  }
  return options;
}

/** An option that is on or off. */
function flag(options, name) {
  const value = options[name];
  if (value === undefined) return false;
  if (typeof value !== "boolean") throw usage(`${name} must be true or false`);
  return value;
}

/** The time to live out of a number of seconds or an object that has it, in milliseconds. */
function timeOf(options) {
  return milliseconds(typeof options === "number" ? options : known(options, ["ttl"]).ttl);
}

/** A text that has a form in UTF-8. */
function text(value, name) {
  if (typeof value !== "string") throw usage(`${name} must be a string`);
  if (!value.isWellFormed()) throw usage(`${name} has a lone surrogate, which has no UTF-8 form`);
  return value;
}

/** The whole path that a text, or a URL of a file, stands for now. */
function pathOf(value, name) {
  if (value instanceof URL && value.protocol !== "file:") throw usage(`${name} must be a URL of a file`);
  const path = text(value instanceof URL ? fileURLToPath(value) : value, name);
  if (path === "" || path.includes("\0")) throw usage(`${name} must be a path`);
  return resolve(path);
}

module.exports = { flag, known, milliseconds, pathOf, text, timeOf, usage };
