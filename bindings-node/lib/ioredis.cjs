// `Redis`: ioredis's own client with the engine in place of a connection.
// Methods, pipelines, transformers and scan streams are ioredis's; here is how a command is executed, and short cuts for the hot ones.
"use strict";

const native = require("./native.cjs");
const { dataPathOf, openEngine } = require("./engines.cjs");
const { BLOCKED } = require("./packed.cjs");
const { pipelineClass } = require("./pipeline.cjs");
const { awaitReply } = require("./replies.cjs");
const {
  BUFFERS, HOT, LONG, STRING_NUMBERS, addPrefix, execute, executeStrings, packedStyle, transformed, wordsOf,
} = require("./shortcuts.cjs");
const { Subscriber, beginningOf } = require("./subscriber.cjs");

function loadIORedis() {
  try {
    return require("ioredis");
  } catch (cause) {
    throw new Error("keystead/ioredis needs the package ioredis: npm install ioredis", { cause });
  }
}

const ioredis = loadIORedis();
const { Redis: IORedis, Command, ReplyError } = ioredis;
const CLOSED = "Connection is closed.";

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
    this.prefix = this.options.keyPrefix ?? "";
    /** How replies are to be made, besides Buffers or strings. */
    this.style = this.options.stringNumbers ? STRING_NUMBERS : 0;
    /** Whether short cuts lead to the same as the long way: not if somebody looks at the commands that are sent. */
    this.hasShortcuts = typeof this.prefix === "string" && this.sendCommand === ownSendCommand
      && !this.options.showFriendlyErrorStack;
    /** Whether they may be taken now: connected, not between MULTI and EXEC, and not while a command waits. */
    this.isDirect = false;
    /** The command that waits, with what ends that. */
    this.waiting = undefined;
    /** What is to be done when it has its reply. */
    this.line = undefined;
    /** Its subscriptions, from the first on. */
    this.subscriber = undefined;
    if (!this.wantsLazyConnect) this.connect().catch(() => {});
  }

  /** @ignore */
  parseOptions(...args) {
    super.parseOptions(...args);
    const { options } = this;
    if (options.sentinels || options.isCluster) throw unsupported("Sentinel or Cluster");
    if (options.replyMapping === "resp3") throw unsupported('replyMapping "resp3"');
    if (options.monitor) throw unsupported("MONITOR");
    options.dataPath = dataPathOf(options);
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
    this.isDirect = this.hasShortcuts;
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
    const { waiting, line, subscriber } = this;
    this.waiting = this.line = this.subscriber = undefined;
    waiting?.end();
    native.close(this.handle);
    this.handle = undefined;
    subscriber?.end(new Error(CLOSED));
    waiting?.command.reject(new Error(CLOSED));
    // There is no connection any more: each fails.
    line?.forEach((run) => run());
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
    if (this.line !== undefined) {
      this.line.push(() => ownSendCommand.call(this, command));
      this.limit(command);
      return command.promise;
    }
    const kind = beginningOf(command.name);
    if (kind !== undefined) {
      this.subscriber ??= new Subscriber(this);
      const error = this.subscriber.send(command, kind);
      if (error !== undefined) settle(command, error);
      return command.promise;
    }
    if (this.condition.subscriber && !Command.checkFlag("VALID_IN_SUBSCRIBER_MODE", command.name)) {
      command.reject(new Error("Connection in subscriber mode, only subscriber commands may be used"));
      return command.promise;
    }
    const reply = this.run(command);
    if (reply === BLOCKED) return this.blockOn(command);
    settle(command, reply);
    if (command.name.length <= 7) this.follow(command.name.toLowerCase(), reply);
    return command.promise;
  }

  /** @ignore */
  run(command) {
    const style = this.styleOf(command.replyEncoding);
    // One of `defineCommand`: what it writes by a connection for the first time is EVAL with the script. Between MULTI and EXEC nobody can try again.
    const isScript = command.toWritable !== Command.prototype.toWritable;
    if (isScript && !this.isDirect) command.toWritable({});
    let reply = execute(this.handle, style, command.name, command.args);
    if (isScript && reply instanceof Error && reply.code === "KS_ERR_NOSCRIPT") {
      command.toWritable({});
      reply = execute(this.handle, style, command.name, command.args);
    }
    const { name, args } = command;
    if (!Array.isArray(reply) || !isExec(name)) return reply;
    return reply.map((item) => (item instanceof Error ? replyError(item, name, args) : item));
  }

  /** @ignore */
  styleOf(replyEncoding) {
    return this.style | (replyEncoding === "utf8" ? 0 : BUFFERS);
  }

  /** The promise of a command that the session waits for; what comes after it stands in line. @ignore */
  blockOn(command) {
    this.line = [];
    this.isDirect = false;
    const end = awaitReply(this.handle, packedStyle(this.styleOf(command.replyEncoding)), (reply) => {
      this.waiting = undefined;
      settle(command, reply);
      this.advance();
    });
    this.waiting = { command, end };
    this.limit(command);
    return command.promise;
  }

  /** Does what stands in line, until a command has to wait again. @ignore */
  advance() {
    const { line } = this;
    this.line = undefined;
    this.noteTransactionEnded();
    for (let at = 0; at < line.length; at += 1) {
      line[at]();
      if (this.line !== undefined) {
        // What the last one still has to do comes first.
        for (const run of line.slice(at + 1)) this.line.push(run);
        return;
      }
    }
  }

  /** Ends the command's promise after the times that the options give, as ioredis does; the command itself goes on. @ignore */
  limit(command) {
    if (typeof this.options.commandTimeout === "number") command.setTimeout(this.options.commandTimeout);
    const time = this.getBlockingTimeoutInMs?.(command);
    if (time !== undefined) command.setBlockingTimeout(time);
  }

  /** @ignore */
  noteTransactionEnded() {
    this.isDirect = this.hasShortcuts && this.handle !== undefined && !this.condition.subscriber;
  }

  /** It is in subscriber mode from now on, or no longer. @ignore */
  follows(subscriber) {
    this.condition.subscriber = subscriber;
    this.noteTransactionEnded();
  }

  pipeline(commands) {
    if (!this.canPipeline()) return super.pipeline(commands);
    const pipeline = new Pipeline(this, false);
    return Array.isArray(commands) ? pipeline.addBatch(commands) : pipeline;
  }

  multi(commands, options) {
    const { pipeline: isPipeline = true } = (Array.isArray(commands) ? options : (options ?? commands)) ?? {};
    if (!isPipeline || !this.canPipeline()) return super.multi(commands, options);
    const transaction = new Pipeline(this, true);
    return Array.isArray(commands) ? transaction.addBatch(commands) : transaction;
  }

  /** Whether pipelines need none of ioredis's own: methods that users defined are on those only. @ignore */
  canPipeline() {
    if (!this.hasShortcuts || this.addedBuiltinSet.size > 0) return false;
    for (const _ in this.scriptsSet) return false;
    return true;
  }

  /** Keeps the client's own state in step with what its session was just told. @ignore */
  follow(name, reply) {
    const failed = reply instanceof Error;
    switch (name) {
      case "multi":
        if (!failed) this.isDirect = false;
        break;
      case "reset":
        if (!failed) {
          this.subscriber?.end(new Error(CLOSED));
          this.subscriber = undefined;
          this.condition.subscriber = false;
        }
        this.noteTransactionEnded();
        break;
      case "exec":
      case "discard":
        this.noteTransactionEnded();
        break;
      case "quit":
        if (!failed) this.disconnect();
    }
  }
}

/** Executes a command without making a Command of it. */
function general(name, style, long) {
  return function (...args) {
    if (!this.isDirect) return long.apply(this, args);
    const words = wordsOf(Command, name, args);
    if (words === undefined || (this.prefix !== "" && !addPrefix(this.handle, this.prefix, name, words))) {
      return long.apply(this, args);
    }
    const reply = executeStrings(this.handle, this.style | style, name, words);
    if (reply === BLOCKED) return this.blockOn(commandOf(name, style, words));
    if (reply instanceof Error) return Promise.reject(replyError(reply, name, words));
    try {
      return Promise.resolve(transformed(Command, name, reply));
    } catch (error) {
      return Promise.reject(error);
    }
  };
}

/** Executes a hot command by its typed call, if its arguments are as usual. */
function hot(name, [arity, isInteger, run], long) {
  return function (key, b, c) {
    const isUsual = this.isDirect && arguments.length === arity && typeof key === "string";
    if (!isUsual || (isInteger && this.style !== 0)) return long.apply(this, arguments);
    try {
      const reply = run(this.handle, this.prefix === "" ? key : this.prefix + key, b, c);
      return reply === undefined ? long.apply(this, arguments) : Promise.resolve(reply);
    } catch (error) {
      return Promise.reject(replyError(error, name, [...arguments]));
    }
  };
}

for (const name of IORedis.prototype.getBuiltinCommands()) {
  if (LONG.has(name)) continue;
  for (const [method, style] of [[name, 0], [`${name}Buffer`, BUFFERS]]) {
    const long = IORedis.prototype[method];
    if (typeof long !== "function") continue;
    const run = general(name, style, long);
    Redis.prototype[method] = HOT[method] ? hot(name, HOT[method], run) : run;
  }
}

const ownSendCommand = Redis.prototype.sendCommand;
const Pipeline = pipelineClass(ioredis, replyError, commandOf);

function settle(command, reply) {
  if (reply instanceof Error) command.reject(replyError(reply, command.name, command.args));
  else command.resolve(reply);
}

/** A command whose promise is wanted after all. */
function commandOf(name, style, words) {
  return new Command(name, words, { replyEncoding: style & BUFFERS ? null : "utf8" });
}

function isExec(name) {
  return name.length === 4 && name.toLowerCase() === "exec";
}

module.exports = { Redis, ReplyError };
