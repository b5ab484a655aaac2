// ioredis's commands without its Command objects: words, replies, and typed native calls for the hot ones.
// Which client or pipeline takes them, and when, is theirs to decide; what has a callback or a transaction goes ioredis's own way.
"use strict";

const native = require("./native.cjs");
const { readStrings } = require("./many.cjs");
const { unpack } = require("./packed.cjs");
const { getBuffer } = require("./slab.cjs");

const BUFFERS = 1;
const STRING_NUMBERS = 2;
/** Arrays come packed. */
const PACKED = 4;
/** A command that has to wait does, and its reply comes later. */
const WAITS = 16;
/** A command that has messages pushed to the session may. */
const PUSHES = 32;
/** Words given to a call directly; more go in an array. */
const MOST_WORDS = 4000;
/** The longest time, in seconds, that is surely one to the engine too. */
const LONGEST = 1e9;

const isWord = (value) => typeof value === "string" || value instanceof Uint8Array;
const isCount = (value) => Number.isInteger(value) && value > 0 && value < LONGEST;
/** A value as a word, if it is a plain one. */
const valueOf = (value) => (isWord(value) ? value : typeof value === "number" ? String(value) : undefined);
/** Milliseconds to live as PTTL tells them. */
const leftOf = (time) => (time === undefined ? -2 : time === null ? -1 : time);

/**
 * Methods of ioredis that are native calls of their own, by their names: how many arguments, whether the reply is an integer, and the call,
 * which answers undefined for arguments that have to go the long way. They are no list of what the engine finds hot: a method with its arguments is no
 * words yet, and making words of it, and a value of the reply, takes as long again (get 1.8 times, set 1.9, in pipelines 1.7 to 2; getBuffer 2.8).
 */
const HOT = {
  get: [1, false, (handle, key) => native.getString(handle, key) ?? null],
  getBuffer: [1, false, (handle, key) => getBuffer(handle, key) ?? null],
  set: [2, false, (handle, key, value) => {
    const word = valueOf(value);
    if (word === undefined) return undefined;
    native.setRaw(handle, key, word);
    return "OK";
  }],
  setex: [3, false, (handle, key, seconds, value) => {
    const word = valueOf(value);
    if (word === undefined || !isCount(seconds)) return undefined;
    native.setRaw(handle, key, word, seconds * 1000);
    return "OK";
  }],
  psetex: [3, false, (handle, key, time, value) => {
    const word = valueOf(value);
    if (word === undefined || !isCount(time)) return undefined;
    native.setRaw(handle, key, word, time);
    return "OK";
  }],
  setnx: [2, true, (handle, key, value) => {
    const word = valueOf(value);
    return word === undefined ? undefined : native.setRaw(handle, key, word, 0, 1) === false ? 0 : 1;
  }],
  del: [1, true, (handle, key) => (native.remove(handle, key) ? 1 : 0)],
  unlink: [1, true, (handle, key) => (native.remove(handle, key) ? 1 : 0)],
  exists: [1, true, (handle, key) => (native.has(handle, key) ? 1 : 0)],
  incr: [1, true, (handle, key) => native.incr(handle, key)],
  decr: [1, true, (handle, key) => native.incr(handle, key, -1)],
  incrby: [2, true, (handle, key, by) => (isCount(by) ? native.incr(handle, key, by) : undefined)],
  decrby: [2, true, (handle, key, by) => (isCount(by) ? native.incr(handle, key, -by) : undefined)],
  hget: [2, false, (handle, key, field) => (isWord(field) ? native.hget(handle, key, field) ?? null : undefined)],
  hset: [3, true, (handle, key, field, value) => {
    const word = valueOf(value);
    return word === undefined || !isWord(field) ? undefined : native.hset(handle, key, field, word) ? 1 : 0;
  }],
  expire: [2, true, (handle, key, time) => (isCount(time) ? (native.expire(handle, key, time * 1000) ? 1 : 0) : undefined)],
  pexpire: [2, true, (handle, key, time) => (isCount(time) ? (native.expire(handle, key, time) ? 1 : 0) : undefined)],
  ttl: [1, true, (handle, key) => {
    const time = leftOf(native.ttl(handle, key));
    return time < 0 ? time : Math.floor((time + 500) / 1000);
  }],
  pttl: [1, true, (handle, key) => leftOf(native.ttl(handle, key))],
};

/** Commands that change what the client may do next, or that ioredis handles itself. */
const LONG = new Set([
  "multi", "exec", "discard", "reset", "quit", "monitor", "hello", "himport",
  "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe",
]);

/** Words as ioredis would send them; undefined if there is a callback. Arrays among the arguments are spread, objects transformed. */
function wordsOf(Command, name, args) {
  let isFlat = true;
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at];
    if (typeof arg === "string" || arg instanceof Uint8Array) continue;
    if (typeof arg === "number") args[at] = String(arg);
    else if (typeof arg === "function") return undefined;
    else isFlat = false;
  }
  const transform = Command._transformer.argument[name];
  if (isFlat && transform === undefined) return args;
  let words = args.flat();
  if (transform !== undefined) words = transform(words);
  return words.map((word) => (isWord(word) ? word : word === null || word === undefined ? "" : String(word)));
}

/** How replies are made: arrays come packed, unless Buffers are wanted. */
const packedStyle = (style) => (style & BUFFERS ? style : style | PACKED);

/** The reply to a command, or BLOCKED if it waits; an error is returned, not thrown. */
function execute(handle, style, name, words) {
  try {
    const reply = direct(handle, packedStyle(style) | WAITS, name, words);
    return reply === undefined ? unpack() : reply;
  } catch (error) {
    return error;
  }
}

function direct(handle, style, name, words) {
  switch (words.length) {
    case 0:
      return native.execute(handle, style, name);
    case 1:
      return native.execute(handle, style, name, words[0]);
    case 2:
      return native.execute(handle, style, name, words[0], words[1]);
    case 3:
      return native.execute(handle, style, name, words[0], words[1], words[2]);
    default:
      if (words.length > MOST_WORDS) return native.executeList(handle, style, [name, ...words]);
      return native.execute(handle, style, name, ...words);
  }
}

/** As `execute`, for commands whose many replies are strings, which come faster as one. */
function executeStrings(handle, style, name, words) {
  if (name !== "mget" || style !== 0 || words.length < 2) return execute(handle, style, name, words);
  try {
    return readStrings(handle, words, "", null) ?? execute(handle, style, name, words);
  } catch (error) {
    return error;
  }
}

/** A reply as ioredis's methods give it. */
function transformed(Command, name, reply) {
  const transform = Command._transformer.reply[name];
  if (transform === undefined) return reply;
  return transform(reply, { commandName: name, protocol: 2, replyMapping: "legacy" });
}

/** By command: where its keys stand, or null. */
const positions = new Map();

/** Where a command's keys stand among its words, as the engine's own table tells it; null if that depends on the words. */
function positionsOf(handle, name) {
  const known = positions.get(name);
  if (known !== undefined) return known;
  // Another session: this one may be between MULTI and EXEC.
  const asking = native.duplicate(handle);
  const reply = native.execute(asking, 0, "COMMAND", "INFO", name);
  native.close(asking);
  if (!Array.isArray(reply)) return null;
  const [, , flags = [], first, last, step, , , , subcommands = []] = reply[0] ?? [];
  const isFixed = reply[0] !== null && !flags.includes("movablekeys") && subcommands.length === 0;
  positions.set(name, isFixed ? { first, last, step } : null);
  return positions.get(name);
}

/** Puts a prefix before the keys among the words; says whether that is known to be all of them. */
function addPrefix(handle, prefix, name, words) {
  const keys = positionsOf(handle, name);
  if (keys === null) return false;
  if (keys.first === 0) return true;
  if (words.length < keys.first) return false;
  const last = keys.last < 0 ? words.length + keys.last : keys.last - 1;
  for (let at = keys.first - 1; at <= last && at < words.length; at += keys.step) {
    const key = words[at];
    words[at] = typeof key === "string" ? prefix + key : Buffer.concat([Buffer.from(prefix), key]);
  }
  return true;
}

module.exports = { BUFFERS, HOT, LONG, PUSHES, STRING_NUMBERS, WAITS, addPrefix, execute, executeStrings, packedStyle, transformed, wordsOf };
