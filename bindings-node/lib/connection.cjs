// `Connection`: a stream to an engine in this process, in place of a socket, for clients that speak RESP themselves.
// Who is served, and when, the engine decides; what the bytes mean is the client's affair.
"use strict";

const { Duplex } = require("node:stream");
const native = require("./native.cjs");
const { wakes } = require("./wakes.cjs");

const BLOCKED = 1;
const HEARS = 2;
const ENDED = 4;
/** The longest time that a timer of this runtime takes. */
const LONGEST = 2 ** 31 - 1;
/** After so many turns in a row without a look at other events, these come first: timers must not starve while replies cause requests. */
const MOST_IN_A_ROW = 100;

let inARow = 0;

/** Has a function called once what runs now has ended, and every so often other events as well. */
function soon(run) {
  inARow += 1;
  if (inARow < MOST_IN_A_ROW) {
    process.nextTick(run);
    return;
  }
  inARow = 0;
  setImmediate(run);
}

/**
 * What is written in one turn is executed at its end, in one call. A stream keeps the process alive only while a command waits for a time, and while it
 * hears messages: nobody else could end another wait.
 */
class Connection extends Duplex {
  #handle;
  /** The number of the calls that say that something has come. */
  #wait;
  /** What was written and not executed yet: texts joined, or bytes among them. */
  #written = [];
  #isDue = false;
  /** What is to be done when that was executed. */
  #executed;
  #timer;
  /** Nothing more is handed on. */
  #isOver = false;
  #isHeld = false;
  #mayHold = true;
  #idle;
  #idleTime = 0;

  /** @param handle One of the engine's handles, which is the stream's from now on. */
  constructor(handle) {
    super({ allowHalfOpen: false, decodeStrings: false });
    this.#handle = handle;
    this.#wait = native.wireOpen(handle);
    wakes.set(this.#wait, () => this.#look());
  }

  /** What clients ask of sockets. */
  get connecting() {
    return false;
  }

  get readyState() {
    return this.destroyed ? "closed" : "open";
  }

  setNoDelay() {
    return this;
  }

  setKeepAlive() {
    return this;
  }

  /** Emits "timeout" when for so many milliseconds nothing was written or has come; 0: never. */
  setTimeout(time, callback) {
    this.#idleTime = time;
    if (typeof callback === "function") {
      if (time > 0) this.once("timeout", callback);
      else this.off("timeout", callback);
    }
    this.#touch();
    return this;
  }

  /** What it hears keeps the process alive, as from the beginning. */
  ref() {
    this.#mayHold = true;
    this.#follow();
    return this;
  }

  /** It keeps no process alive. */
  unref() {
    this.#mayHold = false;
    this.#follow();
    return this;
  }

  _write(chunk, encoding, callback) {
    const isText = typeof chunk === "string" && (encoding === "utf8" || encoding === "utf-8");
    const word = isText ? chunk : typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk;
    const last = this.#written.length - 1;
    if (isText && typeof this.#written[last] === "string") this.#written[last] += word;
    else this.#written.push(word);
    if (!this.#isDue) {
      this.#isDue = true;
      soon(() => this.#execute());
    }
    callback();
  }

  _read() {}

  /** The client has written its last: what has come by then is executed, and its replies are the last. */
  _final(callback) {
    const end = () => {
      this.#end();
      callback();
    };
    if (this.#isDue) this.#executed = end;
    else end();
  }

  _destroy(error, callback) {
    const handle = this.#handle;
    this.#handle = undefined;
    clearTimeout(this.#timer);
    clearTimeout(this.#idle);
    wakes.delete(this.#wait);
    this.#hold(false);
    // A command that waits is given up by that, and what it has popped for nobody is put back.
    if (handle !== undefined) native.close(handle);
    this.#executed?.();
    callback(error);
  }

  #execute() {
    this.#isDue = false;
    if (this.#handle === undefined) return;
    const written = this.#written;
    this.#written = [];
    for (const part of written) {
      if (this.#handle === undefined) return;
      this.#take(() => {
        // A lone surrogate has no form in UTF-8: sockets send U+FFFD in its place.
        const words = typeof part === "string" && !part.isWellFormed() ? part.toWellFormed() : part;
        return native.wireWrite(this.#handle, words);
      });
    }
    const executed = this.#executed;
    this.#executed = undefined;
    executed?.();
  }

  #look() {
    // What nobody would hear stays where it is, and so do elements that a command that waits could pop.
    if (this.#handle !== undefined && !this.#isOver) this.#take(() => native.wireLook(this.#handle));
  }

  #end() {
    if (this.#isOver || this.destroyed) return;
    this.#isOver = true;
    this.push(null);
  }

  /** Hands on what a call gives. */
  #take(call) {
    let bytes;
    try {
      bytes = call();
    } catch (error) {
      this.destroy(error);
      return;
    }
    this.#touch();
    // Who hears of it may end the stream.
    if (bytes !== undefined && !this.#isOver) this.push(bytes);
    this.#follow();
  }

  /** Does what the state of the connection asks for. */
  #follow() {
    if (this.#handle === undefined || this.#isOver) return;
    const state = native.wireState(this.#handle);
    if (this.#timer !== undefined) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    this.#hold((state & HEARS) !== 0 && this.#mayHold);
    if (state & ENDED) {
      this.#end();
    } else if (state & BLOCKED) {
      const left = native.wireLeft(this.#handle);
      if (left < 0) return;
      this.#timer = setTimeout(() => this.#look(), Math.min(Math.ceil(left), LONGEST));
      if (!this.#mayHold) this.#timer.unref();
    }
  }

  #hold(hold) {
    if (hold === this.#isHeld) return;
    this.#isHeld = hold;
    if (hold) native.hold();
    else native.rest();
  }

  #touch() {
    if (this.#idleTime === 0 && this.#idle === undefined) return;
    clearTimeout(this.#idle);
    this.#idle = undefined;
    if (this.#idleTime > 0 && !this.destroyed) {
      this.#idle = setTimeout(() => this.emit("timeout"), Math.min(this.#idleTime, LONGEST)).unref();
    }
  }
}

module.exports = { Connection };
