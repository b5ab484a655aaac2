// `Cache`: values with their types under keys, with a time to live.
// The engine is native; here are options and arguments.
"use strict";

const native = require("./native.cjs");
const { call, fullKey, isBytes, keys } = require("./keys.cjs");
const { listen } = require("./listener.cjs");
const { load } = require("./loads.cjs");
const { KIND, readStrings, readTyped } = require("./many.cjs");
const { Near } = require("./near.cjs");
const { getBuffer } = require("./slab.cjs");
const { readJson } = require("./json.cjs");
const { restore, snapshot } = require("./saving.cjs");
const { flag, known, milliseconds, pathOf, text, timeOf, usage } = require("./usage.cjs");
const { codecOf, pendingValue, prepare } = require("./values.cjs");

/** Closes the handles of caches that were collected unclosed. */
const collected = new FinalizationRegistry((handle) => native.close(handle));

/** The option `maxmemory` as text; what is in a text the engine judges. */
function memoryOf(maxmemory) {
  const isFine = (typeof maxmemory === "string" && maxmemory !== "") || (Number.isSafeInteger(maxmemory) && maxmemory >= 0);
  if (!isFine) throw usage('maxmemory must be a whole number of bytes, or text such as "100mb"');
  return String(maxmemory);
}

/** The value of an option as text. */
function valueOf(name, value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  const isFine = typeof value === "string" || Number.isFinite(value);
  if (!isFine || /[\n\r]/.test(value)) throw usage(`config: ${JSON.stringify(name)} must be a number, a boolean or a line of text`);
  if (!/^[a-z][a-z0-9-]*$/i.test(name)) throw usage(`config: ${JSON.stringify(name)} is no name of an option`);
  return String(value);
}

/** What `native.open` takes for the options: text as in valkey.conf, and names and values in turn. With a memory limit `policy` holds, unless
 * `config` names another. */
function configOf({ maxmemory, config = "" }, policy = "noeviction") {
  if (typeof config !== "string" && (typeof config !== "object" || config === null || Array.isArray(config))) {
    throw usage("config must be a text or an object");
  }
  const options = maxmemory === undefined ? [] : ["maxmemory-policy", policy, "maxmemory", memoryOf(maxmemory)];
  if (typeof config === "string") return [config, options];
  for (const [name, value] of Object.entries(config)) options.push(name, valueOf(name, value));
  return [undefined, options];
}

const KEEP = -1;
const NX = 1;
const XX = 2;

const SET = ["ttl", "nx", "xx", "keepTtl"];

/** Milliseconds, or KEEP, and the condition that the options of `set` stand for. */
function settingOf(options) {
  if (typeof options === "number") return [milliseconds(options), 0];
  known(options, SET);
  if (options === undefined || options === null) return [0, 0];
  const [nx, xx] = [flag(options, "nx"), flag(options, "xx")];
  if (nx && xx) throw usage("nx and xx exclude each other");
  let time = milliseconds(options.ttl);
  if (flag(options, "keepTtl")) {
    if (time !== 0) throw usage("ttl and keepTtl exclude each other");
    time = KEEP;
  }
  return [time, nx ? NX : xx ? XX : 0];
}

/** What is listed; a text is a list of letters by accident only. */
function listed(all, what) {
  if (typeof all !== "object" || all === null || typeof all[Symbol.iterator] !== "function") {
    throw usage(`${what} must be an array, or another iterable object`);
  }
  return Array.isArray(all) ? all : [...all];
}

/** Pairs of keys and values. */
function pairsOf(entries) {
  if (typeof entries !== "object" || entries === null) throw usage("the entries must be pairs of keys and values, or an object");
  if (typeof entries[Symbol.iterator] !== "function") return Object.entries(entries);
  const pairs = listed(entries, "the entries");
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2) throw usage("each of the entries must be a key and a value");
  }
  return pairs;
}

/** Integers of replies that numbers can't hold come as BigInts. */
const EXACT = 8;

/** Commands after which the keys of a near cache may be those of another database. */
const MOVES = new Set(["select", "exec", "reset"]);

class Cache {
  #handle;
  #near;
  #prefix;
  #codec;
  #name;
  #path;
  /** What ends the waits for loads under way. */
  #waiting = new Set();

  constructor(options = {}) {
    if (options === null) throw usage("the options must be an object");
    const { name, path, prefix = "" } = known(options, ["name", "path", "maxmemory", "prefix", "codec", "near", "config"]);
    if (name !== undefined) text(name, "name");
    if (path !== undefined) this.#path = pathOf(path, "path");
    if (name !== undefined && path !== undefined) throw usage("name and path exclude each other: a path is found by all who open it");
    text(prefix, "prefix");
    this.#codec = codecOf(options.codec);
    this.#name = name;
    this.#prefix = prefix;
    // A cache makes room; an error for a full one is what a database wants.
    this.#handle = native.open(name, this.#path, ...configOf(options, "allkeys-adaptive"), true);
    collected.register(this, this.#handle, this);
    if (options.near !== undefined) this.#near = new Near(this.#handle, prefix, this.#codec, options.near);
  }

  get name() {
    return this.#name;
  }

  get path() {
    return this.#path;
  }

  get openingNotes() {
    return native.openingNotes(this.#handle);
  }

  #full(key) {
    return fullKey(this.#prefix, key);
  }

  get(key, fallback) {
    if (this.#near !== undefined && typeof key === "string") {
      const near = this.#near.get(key);
      return near === undefined ? fallback : near;
    }
    const value = native.getValue(this.#handle, this.#prefix === "" ? key : this.#full(key));
    if (value === undefined) return fallback;
    return value === null ? pendingValue(this.#codec) : value;
  }

  set(key, value, options) {
    const full = this.#prefix === "" ? key : this.#full(key);
    if (typeof value === "string" || typeof value === "number") {
      if (options === undefined) return native.setValue(this.#handle, full, value) !== false;
      if (typeof options === "number") return native.setValue(this.#handle, full, value, milliseconds(options)) !== false;
    }
    const [tag, payload] = prepare(value, this.#codec);
    const [time, condition] = settingOf(options);
    return native.setValue(this.#handle, full, payload, time, condition, tag) !== false;
  }

  delete(...all) {
    // A key that is none is refused before any is deleted.
    const full = all.map((key) => {
      if (typeof key !== "string" || key.isWellFormed()) return this.#full(key);
      throw usage("a key has a lone surrogate, which has no UTF-8 form");
    });
    if (!full.every((key) => typeof key === "string" || isBytes(key))) throw usage("a key must be a string, a Buffer or a Uint8Array");
    return full.reduce((deleted, key) => deleted + Number(native.remove(this.#handle, key)), 0);
  }

  has(key) {
    return native.has(this.#handle, this.#prefix === "" ? key : this.#full(key));
  }

  getMany(all) {
    const wanted = [...listed(all, "the keys")];
    const found = new Map();
    const one = (key) => {
      const value = this.get(key);
      if (value !== undefined) found.set(key, value);
    };
    const isRead = readTyped(this.#handle, wanted, this.#prefix, (at, kind, text) => {
      switch (kind) {
        case KIND.TEXT:
          found.set(wanted[at], text);
          break;
        case KIND.INTEGER:
          found.set(wanted[at], Number(text));
          break;
        case KIND.JSON:
          found.set(wanted[at], readJson(text));
          break;
        case KIND.OTHER:
          one(wanted[at]);
      }
    });
    if (!isRead) {
      found.clear();
      wanted.forEach(one);
    }
    return found;
  }

  setMany(entries, ttl) {
    const time = timeOf(ttl);
    const words = [];
    for (const [key, value] of pairsOf(entries)) {
      const [tag, payload] = prepare(value, this.#codec);
      words.push(this.#full(key), tag, payload);
    }
    native.setValues(this.#handle, time, words);
  }

  incr(key, by = 1) {
    const full = this.#prefix === "" ? key : this.#full(key);
    return by === 1 ? native.incrExact(this.#handle, full) : native.incrExact(this.#handle, full, by);
  }

  decr(key, by = 1) {
    if (typeof by !== "number") throw usage("by must be a number");
    return native.incrExact(this.#handle, this.#full(key), -by);
  }

  touch(key, ttl) {
    return native.expire(this.#handle, this.#full(key), milliseconds(ttl));
  }

  ttl(key) {
    const time = native.ttl(this.#handle, this.#full(key));
    return typeof time === "number" ? time / 1000 : time;
  }

  clear(prefix = "") {
    return native.clear(this.#handle, this.#prefix + text(prefix, "prefix"));
  }

  keys() {
    return keys(this.#handle, Buffer.from(this.#prefix));
  }

  get size() {
    return native.count(this.#handle, this.#prefix);
  }

  async wrap(key, options, loader) {
    if (typeof loader !== "function") throw usage("the loader must be a function");
    const time = timeOf(options);
    const found = this.get(key);
    if (found !== undefined) return found;
    return load({
      handle: this.#handle,
      key,
      full: this.#full(key),
      codec: this.#codec,
      time,
      loader,
      look: () => this.get(key),
      waiting: this.#waiting,
    });
  }

  stats() {
    const info = new Map();
    for (const line of call(this.#handle, 0, "INFO").split("\r\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) info.set(line.slice(0, colon), line.slice(colon + 1));
    }
    const number = (field) => Number(info.get(field) ?? 0);
    const [hits, misses] = [number("keyspace_hits"), number("keyspace_misses")];
    return {
      keys: native.size(this.#handle),
      hits,
      misses,
      hitRate: hits + misses === 0 ? 0 : hits / (hits + misses),
      expired: number("expired_keys"),
      evicted: number("evicted_keys"),
      usedBytes: number("used_memory"),
      peakBytes: number("used_memory_peak"),
      maxBytes: number("maxmemory"),
    };
  }

  getString(key) {
    return native.getString(this.#handle, this.#prefix === "" ? key : this.#full(key));
  }

  getBuffer(key) {
    return getBuffer(this.#handle, this.#prefix === "" ? key : this.#full(key));
  }

  setString(key, value, ttl) {
    const full = this.#prefix === "" ? key : this.#full(key);
    if (ttl === undefined) return native.setRaw(this.#handle, full, value) !== false;
    return native.setRaw(this.#handle, full, value, milliseconds(ttl)) !== false;
  }

  hget(key, field) {
    return native.hget(this.#handle, this.#prefix === "" ? key : this.#full(key), field);
  }

  mget(all) {
    const wanted = listed(all, "the keys");
    return readStrings(this.#handle, wanted, this.#prefix, undefined) ?? wanted.map((key) => this.getString(key));
  }

  async snapshot(path) {
    return snapshot(this.#handle, path);
  }

  async restore(path) {
    return restore(this.#handle, path);
  }

  async listen(address) {
    return listen(this.#handle, address);
  }

  call(...words) {
    if (this.#near !== undefined && MOVES.has(String(words[0]).toLowerCase())) this.#near.clear();
    return call(this.#handle, EXACT, ...words.map((word) => (isBytes(word) ? word : String(word))));
  }

  close() {
    collected.unregister(this);
    this.#near = undefined;
    const closed = native.close(this.#handle);
    this.#waiting.forEach((end) => end());
    return closed;
  }
}

if (Symbol.dispose) {
  Object.defineProperty(Cache.prototype, Symbol.dispose, { value: Cache.prototype.close, configurable: true, writable: true });
}

module.exports = { Cache, configOf };
