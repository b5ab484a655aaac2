// Keys with a prefix before them: what they are in full, and walking over those that begin alike.
// A key that exists throughout a walk is met; one that comes or goes meanwhile may be.
"use strict";

const { types } = require("node:util");
const native = require("./native.cjs");

/** Whether it is bytes that a key or a value can be, of whatever realm. */
const isBytes = (key) => types.isUint8Array(key) || types.isUint8ClampedArray(key);

/** A key behind its prefix. What is neither string nor bytes is refused natively, as it is without a prefix. */
function fullKey(prefix, key) {
  if (typeof key === "string") return prefix + key;
  if (prefix === "" || !isBytes(key)) return key;
  return Buffer.concat([Buffer.from(prefix), new Uint8Array(key.buffer, key.byteOffset, key.byteLength)]);
}

/** The reply to a command; an error is thrown. */
function call(handle, style, ...words) {
  const reply = native.execute(handle, style, ...words);
  if (reply instanceof Error) throw reply;
  return reply;
}

/** A key without its prefix: a string, or a Buffer if it is not UTF-8. */
function shown(key, prefix) {
  const rest = key.subarray(prefix.length);
  const text = rest.toString();
  return text.includes("\ufffd") && Buffer.compare(Buffer.from(text), rest) !== 0 ? Buffer.from(rest) : text;
}

/** Each key that begins with the prefix, once, without it. */
function* keys(handle, prefix) {
  // A key can be met twice while the table grows.
  const seen = new Set();
  let cursor = 0;
  do {
    const [next, ...page] = native.page(handle, prefix, cursor);
    for (const key of page) {
      const name = key.toString("latin1");
      if (seen.has(name)) continue;
      seen.add(name);
      yield shown(key, prefix);
    }
    cursor = next;
  } while (cursor !== 0);
}

module.exports = { call, fullKey, isBytes, keys };
