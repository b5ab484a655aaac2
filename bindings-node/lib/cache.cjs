// `Cache`: values with their types under keys, with a time to live.
// The engine is native; here are options and arguments.
"use strict";

const native = require("./native.cjs");
const { call, fullKey, isBytes, keys } = require("./keys.cjs");
const { load } = require("./loads.cjs");
const { KIND, readStrings, readTyped } = require("./many.cjs");
const { Near } = require("./near.cjs");
const { getBuffer } = require("./slab.cjs");
const { codecOf, pendingValue, prepare, usage } = require("./values.cjs");

/** Closes the handles of caches that were collected unclosed. */
const collected = new FinalizationRegistry((handle) => native.close(handle));

/** What `native.open` takes for the options: text as in valkey.conf, and names and values in turn. With a memory limit `policy` holds, unless
 * `config` names another. */
function configOf({ maxmemory, config }, policy = "noeviction") {
  const options = maxmemory === undefined ? [] : ["maxmemory-policy", policy, "maxmemory", String(maxmemory)];
  if (typeof config === "string") return [config, options];
  for (const [name, value] of Object.entries(config ?? {})) {
    options.push(name, typeof value === "boolean" ? (value ? "yes" : "no") : String(value));
  }
  return [undefined, options];
}

/** Seconds as milliseconds; none is 0. */
function milliseconds(ttl) {
  if (ttl === undefined || ttl === null) return 0;
  if (typeof ttl !== "number" || !(ttl > 0)) throw usage("ttl must be a number of seconds above 0");
  return Math.max(1, Math.round(ttl * 1000));
}

const KEEP = -1;
const NX = 1;
const XX = 2;

function conditionOf({ nx, xx }) {
  if (nx && xx) throw usage("nx and xx exclude each other");
  return nx ? NX : xx ? XX : 0;
}

/** Commands after which the keys of a near cache may be those of another database. */
const MOVES = new Set(["select", "exec", "reset"]);

class Cache {
  #handle;
  #near;
  #prefix;
  #codec;
  #name;
  /** What ends the waits for loads under way. */
  #waiting = new Set();

  constructor(options = {}) {
    const { name, prefix = "" } = options;
    if (name !== undefined && typeof name !== "string") throw usage("name must be a string");
    if (typeof prefix !== "string") throw usage("prefix must be a string");
    this.#codec = codecOf(options.codec);
    this.#name = name;
    this.#prefix = prefix;
    // A cache makes room; an error for a full one is what a database wants.
    this.#handle = native.open(name, ...configOf(options, "allkeys-adaptive"), true);
    collected.register(this, this.#handle, this);
    if (options.near !== undefined) this.#near = new Near(this.#handle, prefix, this.#codec, options.near);
  }

  get name() {
    return this.#name;
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
    const { ttl, keepTtl = false, nx = false, xx = false } = typeof options === "number" ? { ttl: options } : options ?? {};
    const time = keepTtl ? KEEP : milliseconds(ttl);
    return native.setValue(this.#handle, full, payload, time, conditionOf({ nx, xx }), tag) !== false;
  }

  delete(...all) {
    let deleted = 0;
    for (const key of all) {
        if (native.remove(this.#handle, this.#full(key))) deleted += 1;
    }
    return deleted;
  }

  has(key) {
    return native.has(this.#handle, this.#prefix === "" ? key : this.#full(key));
  }

  getMany(all) {
    const wanted = [...all];
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
          found.set(wanted[at], JSON.parse(text));
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
    const pairs = entries instanceof Map || Symbol.iterator in entries ? entries : Object.entries(entries);
    const words = [];
    for (const [key, value] of pairs) {
      const [tag, payload] = prepare(value, this.#codec);
      words.push(this.#full(key), tag, payload);
    }
    native.setValues(this.#handle, milliseconds(typeof ttl === "object" && ttl !== null ? ttl.ttl : ttl), words);
  }

  incr(key, by = 1) {
    const full = this.#prefix === "" ? key : this.#full(key);
    return by === 1 ? native.incrExact(this.#handle, full) : native.incrExact(this.#handle, full, by);
  }

  decr(key, by = 1) {
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
    return native.clear(this.#handle, this.#prefix + prefix);
  }

  keys() {
    return keys(this.#handle, Buffer.from(this.#prefix));
  }

  get size() {
    return native.count(this.#handle, this.#prefix);
  }

  async wrap(key, options, loader) {
    const found = this.get(key);
    if (found !== undefined) return found;
    if (typeof loader !== "function") throw usage("the loader must be a function");
    if (!["number", "object", "undefined"].includes(typeof options)) throw usage("the options must be a number of seconds or an object");
    const { ttl } = typeof options === "number" ? { ttl: options } : options ?? {};
    return load({
      handle: this.#handle,
      key,
      full: this.#full(key),
      codec: this.#codec,
      time: milliseconds(ttl),
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
    const wanted = Array.isArray(all) ? all : [...all];
    return readStrings(this.#handle, wanted, this.#prefix, undefined) ?? wanted.map((key) => this.getString(key));
  }

  call(...words) {
    if (this.#near !== undefined && MOVES.has(String(words[0]).toLowerCase())) this.#near.clear();
    return call(this.#handle, 0, ...words.map((word) => (isBytes(word) ? word : String(word))));
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
