// `Connector`: what ioredis and iovalkey take in place of their own, so that the stock clients talk to an engine in this process.
// The stream that they talk over is `connection.cjs`'s.
"use strict";

const { Connection } = require("./connection.cjs");
const { dataPathOf, openEngine } = require("./engines.cjs");

const CLOSED = "Connection is closed.";

/** How long a stream whose reader has paused may take to end, if the client's options do not say it; milliseconds, as in ioredis. */
const PATIENCE = 2000;

class Connector {
  /** @param options The client's: those of `keystead/ioredis` name the engine. */
  constructor(options) {
    const dataPath = dataPathOf(options);
    this.options = { ...options, dataPath };
    this.connecting = false;
    this.stream = undefined;
    this.firstError = undefined;
  }

  /** Whether the engine has the role that is wanted: there is only one. */
  check() {
    return true;
  }

  async connect() {
    this.connecting = true;
    // A caller may change its mind before anything is opened.
    await undefined;
    if (!this.connecting) throw new Error(CLOSED);
    try {
      this.stream = new Connection(openEngine(this.options));
    } catch (error) {
      this.firstError = error;
      throw error;
    }
    return this.stream;
  }

  disconnect() {
    this.connecting = false;
    const { stream } = this;
    if (stream === undefined || stream.destroyed) return;
    const timer = setTimeout(() => stream.destroy(), this.options.disconnectTimeout ?? PATIENCE);
    timer.unref();
    stream.once("close", () => clearTimeout(timer));
    stream.end();
  }
}

module.exports = { Connector };
