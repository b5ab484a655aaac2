// Walking over the keys that begin alike: listing, counting and deleting them, by SCAN.
// A key that exists throughout is met; one that comes or goes meanwhile may be.
"use strict";

const native = require("./native.cjs");

const BUFFERS = 1;
const PAGE = "1000";
const SPECIAL = new Set([..."*?[]\\"].map((letter) => letter.charCodeAt(0)));

/** The glob pattern of everything that begins with these bytes. */
function patternOf(prefix) {
  const pattern = [];
  for (const byte of prefix) {
    if (SPECIAL.has(byte)) pattern.push(0x5c);
    pattern.push(byte);
  }
  return Buffer.from([...pattern, 0x2a]);
}

/** The reply to a command; an error is thrown. */
function call(handle, style, ...words) {
  const reply = native.execute(handle, style, ...words);
  if (reply instanceof Error) throw reply;
  return reply;
}

/** Arrays of keys, as Buffers, until there are no more. */
function* pages(handle, prefix) {
  const pattern = patternOf(prefix);
  let cursor = "0";
  do {
    const [next, keys] = call(handle, BUFFERS, "SCAN", cursor, "MATCH", pattern, "COUNT", PAGE);
    yield keys;
    cursor = next.toString("latin1");
  } while (cursor !== "0");
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
  for (const page of pages(handle, prefix)) {
    for (const key of page) {
      const name = key.toString("latin1");
      if (seen.has(name)) continue;
      seen.add(name);
      yield shown(key, prefix);
    }
  }
}

/** How many keys begin with the prefix. */
function count(handle, prefix) {
  if (prefix.length === 0) return native.size(handle);
  const seen = new Set();
  for (const page of pages(handle, prefix)) {
    for (const key of page) seen.add(key.toString("latin1"));
  }
  return seen.size;
}

/** Deletes the keys that begin with the prefix and tells how many there were. */
function clear(handle, prefix) {
  if (prefix.length === 0) {
    const all = native.size(handle);
    call(handle, 0, "FLUSHDB");
    return all;
  }
  let deleted = 0;
  for (const page of pages(handle, prefix)) {
    if (page.length > 0) deleted += call(handle, 0, "UNLINK", ...page);
  }
  return deleted;
}

module.exports = { call, clear, count, keys };
