// ioredis's subscriber mode on the engine: what is pushed to a client's session, as the events that ioredis emits.
// Who hears what, the engine decides; which other commands may be sent meanwhile is the client's affair.
"use strict";

const native = require("./native.cjs");
const { PUSHES, execute } = require("./shortcuts.cjs");
const { wakes } = require("./wakes.cjs");

/** By command, the one that begins such subscriptions. */
const BEGINNING = {
  subscribe: "subscribe",
  unsubscribe: "subscribe",
  psubscribe: "psubscribe",
  punsubscribe: "psubscribe",
  ssubscribe: "ssubscribe",
  sunsubscribe: "ssubscribe",
};
/** The longest of their names. */
const LONGEST = 12;

/** The command that begins subscriptions of the kind that a command is about; undefined if it is about none. */
function beginningOf(name) {
  return name.length <= LONGEST ? BEGINNING[name.toLowerCase()] : undefined;
}

/** The subscriptions of a client. While there are any the process stays alive, as with a connection. */
class Subscriber {
  constructor(client) {
    this.client = client;
    /** Names by kind, as they will be when all commands that were sent are confirmed. */
    this.sent = { subscribe: new Set(), psubscribe: new Set(), ssubscribe: new Set() };
    /** Commands whose confirmations have not all come, and how many have not. */
    this.pending = [];
    /** The number of the wait for messages. */
    this.wait = undefined;
  }

  /** Names of a kind, as ioredis tells them. */
  channels(kind) {
    return [...this.sent[kind]];
  }

  /** Sends a command about subscriptions of a kind; returns its error, if it fails. */
  send(command, kind) {
    const { client } = this;
    const reply = execute(client.handle, client.style | PUSHES, command.name, command.args);
    if (reply instanceof Error) return reply;
    const names = this.sent[kind];
    const isEnd = command.name.toLowerCase() !== kind;
    const count = command.args.length > 0 ? command.args.length : Math.max(1, names.size);
    if (isEnd && command.args.length === 0) names.clear();
    for (const name of command.args) {
      if (isEnd) names.delete(String(name));
      else names.add(String(name));
    }
    this.pending.push({ command, left: count });
    this.listen();
    return undefined;
  }

  listen() {
    if (this.wait === undefined) {
      native.hold();
      this.wait = native.wakeOnReply(this.client.handle);
      wakes.set(this.wait, () => this.drain());
    }
    // What came before anybody could be woken, and confirmations of what is there already.
    process.nextTick(() => this.drain());
  }

  /** Emits what has come. */
  drain() {
    const { client } = this;
    while (this.wait !== undefined && client.handle !== undefined) {
      let message;
      try {
        message = native.takePush(client.handle);
      } catch (error) {
        // As a server ends the connection of who does not keep up.
        client.silentEmit("error", error);
        continue;
      }
      if (message === null) break;
      this.hear(message);
    }
    if (this.pending.length === 0 && !client.condition.subscriber) this.end();
  }

  hear(message) {
    const { client } = this;
    const [type, first, second, third] = message;
    const name = type.toString();
    switch (name) {
      case "message":
      case "smessage":
        if (client.listenerCount(name) > 0) client.emit(name, first.toString(), second.toString());
        client.emit(`${name}Buffer`, first, second);
        break;
      case "pmessage": {
        const pattern = first.toString();
        if (client.listenerCount(name) > 0) client.emit(name, pattern, second.toString(), third.toString());
        client.emit("pmessageBuffer", pattern, second, third);
        break;
      }
      default: {
        client.follows(second > 0 || Object.values(this.sent).some((names) => names.size > 0) ? this : false);
        const [head] = this.pending;
        head.left -= 1;
        if (head.left > 0) break;
        this.pending.shift();
        head.command.resolve(client.style === 0 ? second : String(second));
      }
    }
  }

  /** Nothing is heard any more; commands that were not confirmed fail with an error, if there is one. */
  end(error) {
    const { pending } = this;
    this.pending = [];
    if (this.wait !== undefined) {
      wakes.delete(this.wait);
      this.wait = undefined;
      native.rest();
    }
    for (const { command } of pending) command.reject(error);
  }
}

module.exports = { Subscriber, beginningOf };
