// `Listener`: lets Valkey's clients of other processes talk to an engine.
// Sockets and connections are the engine's; here is the handle on them, and whether they keep the process alive.
"use strict";

const native = require("./native.cjs");
// What is held is held by the call that wakes this isolate.
require("./wakes.cjs");
const { text, usage } = require("./usage.cjs");

/** A listener out of what opened it; throws what that failed by. */
async function opened(opening) {
  const listening = await opening;
  const [code, message] = listening.failure;
  if (code === undefined) return listening;
  throw code === "KS_ERR_USAGE" ? usage(message) : Object.assign(new Error(message), { code });
}

class Listener {
  #listening;
  #isHeld = false;
  #closed;

  /** @ignore */
  constructor(listening) {
    this.#listening = listening;
    this.ref();
  }

  get addresses() {
    return this.#closed === undefined ? this.#listening.addresses : [];
  }

  ref() {
    if (!this.#isHeld && this.#closed === undefined) {
      this.#isHeld = true;
      open.add(this);
      native.hold();
    }
    return this;
  }

  unref() {
    if (this.#isHeld) {
      this.#isHeld = false;
      native.rest();
    }
    return this;
  }

  close() {
    if (this.#closed === undefined) {
      this.unref();
      open.delete(this);
      this.#closed = this.#listening.close();
    }
    return this.#closed.then(() => undefined);
  }
}

if (Symbol.asyncDispose) {
  Object.defineProperty(Listener.prototype, Symbol.asyncDispose, { value: Listener.prototype.close, configurable: true, writable: true });
}

/** Those that listen: one that nobody knows any more goes on, as a server does. */
const open = new Set();

async function listen(handle, address) {
  return new Listener(await opened(native.listen(handle, text(address, "address"))));
}

module.exports = { listen };
