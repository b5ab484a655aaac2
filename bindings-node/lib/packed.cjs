// Replies that came as one string and a list of numbers, and commands that go so: src/packed.rs has the format.
// What is executed, and what becomes of the replies, is the callers' affair.
"use strict";

const { partOf } = require("./many.cjs");
const native = require("./native.cjs");

// Codes of items, each a constant of its own: as fields of one object they cost a look-up each.
const NULL = 0;
const TEXT = 1;
const INTEGER = 2;
const ARRAY = 3;
const NUMBER = 4;
const BOOLEAN = 5;
const ERROR = 6;
/** In the place of a reply that has not come: its command waits, and those behind it were not executed. */
const BLOCKED = Symbol("blocked");
/** By the number of their kind. */
const ERROR_CODES = [undefined, ...native.errorCodes()];
/** Commands executed in one call. */
const MOST = 128;

/** How many codes there are, and they; or words and their lengths on the way in. */
let table = new Uint32Array(1024);
/** Where the next item begins among the codes, and in the text. */
let position = 0;
let offset = 0;
let text = "";

function fetch() {
  text = native.packed(table);
  if (table[0] >= table.length) {
    table = new Uint32Array(2 * table[0]);
    text = native.packed(table);
  }
  position = 1;
  offset = 0;
}

function slice() {
  const from = offset;
  offset += table[position];
  position += 1;
  return partOf(text, from, offset);
}

function next() {
  const code = table[position];
  position += 1;
  switch (code) {
    case NULL:
      return null;
    case TEXT:
      return slice();
    case INTEGER: {
      const number = table[position] | 0;
      position += 1;
      return number;
    }
    case ARRAY: {
      const length = table[position];
      position += 1;
      const items = new Array(length);
      for (let at = 0; at < length; at += 1) items[at] = next();
      return items;
    }
    case NUMBER:
      return Number(slice());
    case BOOLEAN: {
      const value = table[position] !== 0;
      position += 1;
      return value;
    }
    case ERROR: {
      const kind = table[position];
      position += 1;
      const error = new Error(slice());
      error.code = ERROR_CODES[kind];
      return error;
    }
    default:
      return BLOCKED;
  }
}

/** The reply that was packed last. */
function unpack() {
  fetch();
  const reply = next();
  text = "";
  return reply;
}

/**
 * Executes commands, each given by its name and its words, in one call for many. Undefined, and nothing executed, if a word is no string or
 * has no UTF-8 form. Where one has to wait, the replies end with BLOCKED in its place.
 */
function executeMany(handle, style, names, argvs) {
  for (const words of argvs) {
    for (const word of words) if (typeof word !== "string" || !word.isWellFormed()) return undefined;
  }
  const replies = new Array(argvs.length);
  for (let from = 0; from < argvs.length; from += MOST) {
    const to = Math.min(argvs.length, from + MOST);
    let [joined, at] = ["", 0];
    for (let index = from; index < to; index += 1) {
      const words = argvs[index];
      if (at + words.length + 2 >= table.length) table = grown(at + words.length + 2);
      table[at] = words.length + 1;
      table[at + 1] = names[index].length;
      joined += names[index];
      for (let word = 0; word < words.length; word += 1) {
        table[at + 2 + word] = words[word].length;
        joined += words[word];
      }
      at += words.length + 2;
    }
    native.executeMany(handle, style, joined, table, to - from);
    fetch();
    for (let index = from; index < to; index += 1) {
      replies[index] = next();
      if (replies[index] === BLOCKED) {
        text = "";
        return replies.slice(0, index + 1);
      }
    }
    text = "";
  }
  return replies;
}

function grown(length) {
  const longer = new Uint32Array(2 * length);
  longer.set(table);
  return longer;
}

module.exports = { BLOCKED, executeMany, unpack };
