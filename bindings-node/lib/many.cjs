// Reading many keys in one native call: one joined string each way, since elements of arrays cost more than the reads.
// What becomes of the strings is the callers' affair.
"use strict";

const native = require("./native.cjs");

/** Kinds of values, as in src/scratch.rs. */
const KIND = { MISSING: 0, TEXT: 1, INTEGER: 2, JSON: 3, OTHER: 4 };

/** Keys read at once. */
const BATCH = 128;

/** A part of a longer text: a slice, which keeps all of it in memory, or a string of its own if that is much. */
function partOf(text, from, to) {
  const part = text.substring(from, to);
  return text.length <= MOST_PINNED ? part : Buffer.from(part).toString();
}

/** Length of a text that a slice of it may keep in memory. */
const MOST_PINNED = 65_536;

const { join: joinArray } = Array.prototype;

/** Lengths of the keys on the way in; on the way out lengths and kinds of the values in turn. */
const table = new Uint32Array(2 * BATCH);

/** Joins up to BATCH keys from `from` on; undefined if one of them is no string. */
function join(keys, prefix, from) {
  const some = from === 0 && keys.length <= BATCH ? keys : keys.slice(from, from + BATCH);
  for (let at = 0; at < some.length; at += 1) {
    const key = some[at];
    if (typeof key !== "string") return undefined;
    table[at] = prefix.length + key.length;
  }
  // One string made at once: a chain of concatenations would have to be flattened, at half as much again.
  return prefix + joinArray.call(some, prefix);
}

/** The strings of keys, `missing` for those without; undefined if a key is no string, or the values are much together. */
function readStrings(handle, keys, prefix, missing) {
  const size = keys.length;
  const values = new Array(size);
  for (let from = 0; from < size; from += BATCH) {
    const count = Math.min(BATCH, size - from);
    const joined = join(keys, prefix, from);
    if (joined === undefined) return undefined;
    const text = native.getMany(handle, joined, table, count);
    // Too long for one string: they are read one by one.
    if (text === null) return undefined;
    let start = 0;
    for (let at = 0; at < count; at += 1) {
      const end = start + table[2 * at];
      values[from + at] = table[2 * at + 1] === 0 ? missing : partOf(text, start, end);
      start = end;
    }
  }
  return values;
}

/** Calls `found(position, kind, text)` for each key in turn; says whether all keys were strings, and their values not too much for one string. */
function readTyped(handle, keys, prefix, found) {
  const size = keys.length;
  for (let from = 0; from < size; from += BATCH) {
    const count = Math.min(BATCH, size - from);
    const joined = join(keys, prefix, from);
    if (joined === undefined) return false;
    const text = native.getMany(handle, joined, table, count, true);
    if (text === null) return false;
    let start = 0;
    // A value can be read in between, which takes the table: lengths and kinds are copied.
    const answers = table.slice(0, 2 * count);
    for (let at = 0; at < count; at += 1) {
      const end = start + answers[2 * at];
      found(from + at, answers[2 * at + 1], partOf(text, start, end));
      start = end;
    }
  }
  return true;
}

module.exports = { KIND, partOf, readStrings, readTyped };
