// `Redis`: ioredis's own client with the engine in place of a connection.
// Methods, pipelines, transformers and scan streams are ioredis's; here is how a command is executed, and short cuts for the hot ones.
"use strict";

const native = require("./native.cjs");
const { configOf } = require("./cache.cjs");
const { getBuffer } = require("./slab.cjs");

function loadIORedis() {
  try {
    return require("ioredis");
  } catch (cause) {
    throw new Error("keystead/ioredis needs the package ioredis: npm install ioredis", { cause });
  }
}

const { Redis: IORedis, ReplyError } = loadIORedis();

const BUFFERS = 1;
const STRING_NUMBERS = 2;
/** Words given to a call directly; more go in an array. */
const MOST_WORDS = 4000;
const CLOSED = "Connection is closed.";

/** Engines once opened by a client stay, as a server would, whether or not a client is connected. */
const kept = new Map();

/** The name under which clients share an engine: theirs, or what stands for the address they were given. */
function nameOf({ name, path, host, port }) {
  return name ?? path ?? `${host}:${port}`;
}

function openEngine(options) {
  const name = nameOf(options);
  if (!kept.has(name)) kept.set(name, native.open(name, configOf(options)));
  return native.duplicate(kept.get(name));
}

/** An error as ioredis's parser makes it, with the engine's code besides. */
function replyError(error, name, args) {
  if (typeof error.code !== "string" || !error.code.startsWith("KS_ERR_")) return error;
  const reply = new ReplyError(error.message);
  reply.code = error.code;
  reply.command = { name, args };
  return reply;
}

function unsupported(what) {
  return Object.assign(new Error(`keystead/ioredis: ${what} is not supported by the embedded engine`), {
    code: "KS_ERR_USAGE",
  });
}

class Redis extends IORedis {
  constructor(...args) {
    super(...args);
    this.options.lazyConnect = this.wantsLazyConnect;
    this.handle = undefined;
    /** Whether the short cuts may be taken: connected, and not between MULTI and EXEC. */
    this.isDirect = false;
    this.prefix = this.options.keyPrefix ?? "";
    if (!this.wantsLazyConnect) this.connect().catch(() => {});
  }

  /** @ignore */
  parseOptions(...args) {
    super.parseOptions(...args);
    const { options } = this;
    if (options.sentinels || options.isCluster) throw unsupported("Sentinel or Cluster");
    if (options.replyMapping === "resp3") throw unsupported('replyMapping "resp3"');
    if (options.monitor) throw unsupported("MONITOR");
    // The parent's constructor must not connect: there is no socket.
    this.wantsLazyConnect = options.lazyConnect;
    options.lazyConnect = true;
  }

  connect(callback) {
    const promise = this.status === "wait" || this.status === "end" || this.status === "close"
      ? this.open()
      : Promise.reject(new Error("Redis is already connecting/connected"));
    if (typeof callback === "function") promise.then(() => callback(null), callback);
    return promise;
  }

  /** @ignore */
  open() {
    try {
      this.handle = openEngine(this.options);
      const { db, connectionName } = this.options;
      if (db) this.demand("SELECT", String(db));
      if (connectionName) this.demand("CLIENT", "SETNAME", connectionName);
    } catch (error) {
      this.release();
      this.status = "connecting";
      // Later, so that whoever made the client can listen first.
      process.nextTick(() => {
        this.silentEmit("error", error);
        this.setStatus("end");
      });
      return Promise.reject(error);
    }
    this.connectionEpoch = (this.connectionEpoch ?? 0) + 1;
    this.condition = { select: this.options.db ?? 0, subscriber: false, protocol: 2, replyMapping: "legacy" };
    this.isDirect = typeof this.prefix === "string";
    for (const status of ["connecting", "connect", "ready"]) this.setStatus(status);
    return new Promise((resolve) => process.nextTick(resolve));
  }

  /** @ignore */
  demand(...words) {
    const reply = native.execute(this.handle, 0, ...words);
    if (reply instanceof Error) throw replyError(reply, words[0].toLowerCase(), words.slice(1));
  }

  /** @ignore */
  release() {
    this.isDirect = false;
    if (this.handle === undefined) return;
    native.close(this.handle);
    this.handle = undefined;
  }

  disconnect(reconnect = false) {
    if (this.status === "end") return;
    this.release();
    this.setStatus("close");
    this.setStatus("end");
    if (reconnect) this.connect().catch(() => {});
  }

  duplicate(override) {
    return new this.constructor({ ...this.options, ...override });
  }

  monitor(callback) {
    const promise = Promise.reject(unsupported("MONITOR"));
    if (typeof callback === "function") promise.catch(callback);
    return promise;
  }

  /** @ignore */
  sendCommand(command) {
    if (this.status === "wait") this.connect().catch(() => {});
    if (this.handle === undefined) {
      command.reject(new Error(CLOSED));
      return command.promise;
    }
    const reply = this.run(command);
    if (reply instanceof Error) command.reject(replyError(reply, command.name, command.args));
    else command.resolve(reply);
    if (command.name.length <= 7) this.follow(command.name.toLowerCase(), reply);
    return command.promise;
  }

  /** @ignore */
  run({ name, args, replyEncoding }) {
    const style = (replyEncoding === "utf8" ? 0 : BUFFERS) | (this.options.stringNumbers ? STRING_NUMBERS : 0);
    try {
      if (args.length > MOST_WORDS) return native.executeList(this.handle, style, [name, ...args]);
      const reply = native.execute(this.handle, style, name, ...args);
      if (!Array.isArray(reply) || !isExec(name)) return reply;
      return reply.map((item) => (item instanceof Error ? replyError(item, name, args) : item));
    } catch (error) {
      return error;
    }
  }

  /** Keeps the client's own state in step with what its session was just told. @ignore */
  follow(name, reply) {
    const failed = reply instanceof Error;
    switch (name) {
      case "multi":
        if (!failed) this.isDirect = false;
        break;
      case "exec":
      case "discard":
      case "reset":
        this.isDirect = typeof this.prefix === "string";
        break;
      case "quit":
        if (!failed) this.disconnect();
    }
  }

  get(key, ...rest) {
    if (!this.isDirect || rest.length > 0 || typeof key !== "string") return super.get(key, ...rest);
    try {
      const value = native.getString(this.handle, this.prefix === "" ? key : this.prefix + key);
      return Promise.resolve(value === undefined ? null : value);
    } catch (error) {
      return Promise.reject(replyError(error, "get", [key]));
    }
  }

  getBuffer(key, ...rest) {
    if (!this.isDirect || rest.length > 0 || typeof key !== "string") return super.getBuffer(key, ...rest);
    try {
      return Promise.resolve(getBuffer(this.handle, this.prefix + key) ?? null);
    } catch (error) {
      return Promise.reject(replyError(error, "get", [key]));
    }
  }

  set(key, value, ...rest) {
    const isPlain = typeof key === "string" && (typeof value === "string" || value instanceof Uint8Array);
    if (!this.isDirect || rest.length > 0 || !isPlain) return super.set(key, value, ...rest);
    try {
      native.setRaw(this.handle, this.prefix === "" ? key : this.prefix + key, value);
      return Promise.resolve("OK");
    } catch (error) {
      return Promise.reject(replyError(error, "set", [key, value]));
    }
  }

  incr(key, ...rest) {
    if (!this.isDirect || rest.length > 0 || typeof key !== "string" || this.options.stringNumbers) {
      return super.incr(key, ...rest);
    }
    try {
      return Promise.resolve(native.incr(this.handle, this.prefix + key));
    } catch (error) {
      return Promise.reject(replyError(error, "incr", [key]));
    }
  }

  hget(key, field, ...rest) {
    const isPlain = typeof key === "string" && typeof field === "string";
    if (!this.isDirect || rest.length > 0 || !isPlain) return super.hget(key, field, ...rest);
    try {
      return Promise.resolve(native.hget(this.handle, this.prefix + key, field) ?? null);
    } catch (error) {
      return Promise.reject(replyError(error, "hget", [key, field]));
    }
  }
}

function isExec(name) {
  return name.length === 4 && name.toLowerCase() === "exec";
}

module.exports = { Redis, ReplyError };
