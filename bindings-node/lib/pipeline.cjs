// Pipelines and MULTI of ioredis, run in one go against the engine: what is queued are words, not commands with promises.
// Whatever that can't express (callbacks, scripts, MULTI within a pipeline) makes it a pipeline of ioredis's own, which runs as ever.
"use strict";

const { BLOCKED, executeMany } = require("./packed.cjs");
const { BUFFERS, HOT, LONG, WAITS, addPrefix, execute, executeStrings, transformed, wordsOf } = require("./shortcuts.cjs");

/** Calls back as ioredis does: an exception of the callback is nobody's here. */
function nodeify(promise, callback) {
  if (typeof callback === "function") {
    const later = (...args) => process.nextTick(callback, ...args);
    promise.then((result) => later(null, result), later);
  }
  return promise;
}

/** A queued command: by its words, or by a typed call and its arguments. */
class Call {
  constructor(name, style, words, run, key, b, c, arity) {
    this.name = name;
    this.style = style;
    this.words = words;
    this.run = run;
    this.key = key;
    this.b = b;
    this.c = c;
    this.arity = arity;
  }

  get argv() {
    if (this.words !== undefined) return this.words;
    const all = [this.key, this.b, this.c].slice(0, this.arity);
    return all.map((word) => (typeof word === "number" ? String(word) : word));
  }
}

/** The class of pipelines, on the classes of an ioredis; `replyError` makes errors as the client does, `commandOf` commands with promises. */
function pipelineClass({ Pipeline: IORedisPipeline, Redis: IORedis, Command }, replyError, commandOf) {
  const closed = () => new Error("Connection is closed.");

  /** Not by `class`: the parent's constructor costs more than the commands of a short pipeline. */
  function Pipeline(redis, isTransaction) {
    this.redis = redis;
    this.options = redis.options;
    this.isPipeline = true;
    this.isTransaction = isTransaction;
    this.queue = [];
    this.answer = undefined;
    /** ioredis's pipeline that does the work, if short cuts don't. */
    this.heavy = undefined;
  }

  Object.setPrototypeOf(Pipeline.prototype, IORedisPipeline.prototype);
  Object.setPrototypeOf(Pipeline, IORedisPipeline);

  const methods = {
    /** Queues a command as ioredis would, and from the beginning. @ignore */
    sendCommand(command) {
      this.toHeavy().sendCommand(command);
      return this;
    },

    /** @ignore */
    toHeavy() {
      if (this.heavy !== undefined) return this.heavy;
      const { redis, queue } = this;
      this.heavy = this.isTransaction ? IORedis.prototype.multi.call(redis) : IORedis.prototype.pipeline.call(redis);
      for (const call of queue) {
        this.heavy.sendCommand(commandOf(call.name, call.style, call.argv));
      }
      return this.heavy;
    },

    exec(callback) {
      if (this.heavy !== undefined) {
        const answer = this.heavy.exec(...arguments);
        // Between MULTI and EXEC of a pipeline, EXEC is queued.
        return answer === this.heavy ? this : answer;
      }
      if (this.answer === undefined) {
        try {
          this.answer = Promise.resolve(this.isTransaction ? this.runTransaction() : this.runAll());
        } catch (error) {
          this.answer = Promise.reject(error);
        }
      }
      return nodeify(this.answer, callback);
    },

    execBuffer(callback) {
      return this.heavy === undefined ? this.exec(callback) : this.heavy.execBuffer(...arguments);
    },

    /** @ignore */
    runAll() {
      const { redis, queue } = this;
      if (redis.status === "wait") redis.connect().catch(() => {});
      return this.runFrom(0, new Array(queue.length));
    },

    /** The results, with those of the commands from one on; a promise, if any has to wait. @ignore */
    runFrom(from, results) {
      const { redis, queue } = this;
      const { handle, isDirect, line } = redis;
      if (line !== undefined) return new Promise((resolve) => line.push(() => resolve(this.runFrom(from, results))));
      if (handle === undefined) return results.fill(undefined, from).map((result) => result ?? [closed()]);
      while (from < queue.length) {
        const call = queue[from];
        if (isDirect && call.run !== undefined) {
          results[from] = runTyped(handle, call);
          from += 1;
          continue;
        }
        // As many as follow each other go in one call.
        let to = from + 1;
        while (to < queue.length && queue[to].style === call.style && !(isDirect && queue[to].run !== undefined)) to += 1;
        for (const result of runMany(handle, queue.slice(from, to), isDirect)) {
          results[from] = result;
          from += 1;
        }
        if (results[from - 1] === BLOCKED) return this.waitAt(from - 1, results);
      }
      return results;
    },

    /** The results from a command on that has to wait. @ignore */
    waitAt(at, results) {
      const { name, style, argv } = this.queue[at];
      const replied = this.redis.blockOn(commandOf(name, style, argv)).then(
        (reply) => (results[at] = [null, reply]),
        (error) => (results[at] = [error]),
      );
      return Promise.all([replied, this.runFrom(at + 1, results)]).then(() => results);
    },

    /** @ignore */
    runTransaction() {
      const { redis, queue } = this;
      if (redis.status === "wait") redis.connect().catch(() => {});
      const { handle, line } = redis;
      if (line !== undefined) {
        return new Promise((resolve, reject) => {
          line.push(() => {
            try {
              resolve(this.runTransaction());
            } catch (error) {
              reject(error);
            }
          });
        });
      }
      if (handle === undefined) throw closed();
      const argvs = queue.map((call) => call.argv);
      const { replies, style } = runAtOnce(handle, queue, argvs) ?? runInTurn(handle, queue, argvs);
      redis.noteTransactionEnded();
      const last = replies.pop();
      if (last instanceof Error) {
        const errors = replies.map((reply, at) => asError(reply, queue[at - 1])).filter((error) => error !== undefined);
        throw Object.assign(replyError(last, "exec", []), { previousErrors: errors });
      }
      return last === null ? null : last.map((reply, at) => resultOf(queue[at], reply, style));
    },
  };
  Object.assign(Pipeline.prototype, methods);
  Object.defineProperty(Pipeline.prototype, "length", {
    get() {
      return this.heavy === undefined ? this.queue.length : this.heavy.length;
    },
  });

  /** MULTI, the commands and EXEC in one call; undefined, and nothing run, where that can't be. */
  function runAtOnce(handle, queue, argvs) {
    const style = queue.length > 0 ? queue[0].style : 0;
    if (style & BUFFERS || queue.some((call) => call.style !== style)) return undefined;
    const names = ["multi", ...queue.map((call) => call.name), "exec"];
    const replies = executeMany(handle, style, names, [[], ...argvs, []]);
    return replies && { replies, style };
  }

  function runInTurn(handle, queue, argvs) {
    const isSound = (word) => typeof word !== "string" || word.isWellFormed();
    if (!argvs.every((words) => words.every(isSound))) {
      throw Object.assign(new Error("ERR a string with a lone surrogate has no UTF-8 form"), { code: "KS_ERR_USAGE" });
    }
    const style = queue.reduce((all, call) => all | call.style, 0);
    const replies = [execute(handle, 0, "multi", [])];
    queue.forEach((call, at) => replies.push(execute(handle, 0, call.name, argvs[at])));
    replies.push(execute(handle, style, "exec", []));
    return { replies, style };
  }

  function asError(reply, call) {
    if (!(reply instanceof Error)) return undefined;
    return call === undefined ? replyError(reply, "multi", []) : replyError(reply, call.name, call.argv);
  }

  /** Runs commands by their words, until one has to wait. */
  function runEach(handle, calls, isDirect) {
    const results = [];
    for (const call of calls) {
      const result = runWords(handle, call, isDirect);
      results.push(result);
      if (result === BLOCKED) break;
    }
    return results;
  }

  /** Runs commands of one style by their words, until one has to wait. */
  function runMany(handle, calls, isDirect) {
    if (calls.length === 1 || calls[0].style & BUFFERS) return runEach(handle, calls, isDirect);
    const argvs = calls.map((call) => call.argv);
    const replies = executeMany(handle, calls[0].style | WAITS, calls.map((call) => call.name), argvs);
    if (replies === undefined) return runEach(handle, calls, isDirect);
    return replies.map((reply, at) => {
      if (reply === BLOCKED) return BLOCKED;
      const { name } = calls[at];
      return reply instanceof Error ? [replyError(reply, name, argvs[at])] : pair(name, reply);
    });
  }

  function runTyped(handle, call) {
    const { run } = call;
    try {
      const reply = run(handle, call.key, call.b, call.c);
      return reply === undefined ? runWords(handle, call, true) : [null, reply];
    } catch (error) {
      return [replyError(error, call.name, call.argv)];
    }
  }

  function runWords(handle, call, isDirect) {
    const { name, style } = call;
    const words = call.argv;
    const reply = (isDirect ? executeStrings : execute)(handle, style, name, words);
    if (reply === BLOCKED) return BLOCKED;
    if (reply instanceof Error) return [replyError(reply, name, words)];
    return pair(name, reply);
  }

  function pair(name, reply) {
    try {
      return [null, transformed(Command, name, reply)];
    } catch (error) {
      return [error];
    }
  }

  /** A reply within those of EXEC, which has one style for all: Buffers as soon as one command wants them. */
  function resultOf(call, reply, common) {
    // More replies than commands: a transaction was begun before this one.
    if (call === undefined) return reply instanceof Error ? [replyError(reply, "exec", [])] : [null, reply];
    if (reply instanceof Error) return [replyError(reply, call.name, call.argv)];
    return pair(call.name, call.style === common ? reply : texts(reply));
  }

  function texts(reply) {
    if (reply instanceof Uint8Array) return reply.toString();
    return Array.isArray(reply) ? reply.map(texts) : reply;
  }

  /** Queues a command as ioredis would. */
  function long(method) {
    return function (...args) {
      this.toHeavy()[method](...args);
      return this;
    };
  }

  /** Queues a command by words. */
  function general(name, buffers, otherwise) {
    return function (...args) {
      if (this.heavy !== undefined) return otherwise.apply(this, args);
      const words = wordsOf(Command, name, args);
      const { handle, prefix, style } = this.redis;
      const isPrefixed = words !== undefined && (prefix === "" || (handle !== undefined && addPrefix(handle, prefix, name, words)));
      if (!isPrefixed) return otherwise.apply(this, args);
      this.queue.push(new Call(name, style | buffers, words, undefined, undefined, undefined, undefined, 0));
      return this;
    };
  }

  /** Queues a hot command by its typed call, if its arguments are as usual. */
  function hot(name, buffers, [arity, isInteger, run], otherwise) {
    const isUsual = (word) => typeof word === "string" || typeof word === "number" || word instanceof Uint8Array;
    return function (key, b, c) {
      const { prefix, style } = this.redis;
      const count = arguments.length;
      if (
        this.heavy !== undefined || count !== arity || typeof key !== "string"
        || (count > 1 && !isUsual(b)) || (count > 2 && !isUsual(c)) || (isInteger && style !== 0)
      ) {
        return otherwise.apply(this, arguments);
      }
      this.queue.push(new Call(name, style | buffers, undefined, run, prefix === "" ? key : prefix + key, b, c, arity));
      return this;
    };
  }

  for (const name of IORedisPipeline.prototype.getBuiltinCommands()) {
    for (const [method, buffers] of [[name, 0], [`${name}Buffer`, BUFFERS]]) {
      if (typeof IORedisPipeline.prototype[method] !== "function" || method in methods) continue;
      const otherwise = long(method);
      if (LONG.has(name)) {
        Pipeline.prototype[method] = otherwise;
        continue;
      }
      const queue = general(name, buffers, otherwise);
      Pipeline.prototype[method] = HOT[method] ? hot(name, buffers, HOT[method], queue) : queue;
    }
  }
  return Pipeline;
}

module.exports = { pipelineClass };
