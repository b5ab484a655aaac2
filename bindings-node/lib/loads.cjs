// Loading missing keys once for all who want them: the steps of `Cache.wrap` on a miss.
// Who loads and who waits, in this isolate and in all others, the engine decides; a hit never comes here.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const native = require("./native.cjs");
const { pendingValue, prepare } = require("./values.cjs");

/** How a load ends without a value; what `endWait` tells besides. */
const AGAIN = 0;
const NOTHING = 1;
const FAILED = 2;
const VALUE = 3;

/** The numbers of the loads that the code running now belongs to. */
const within = new AsyncLocalStorage();
const NONE = [];

/** Loads of this isolate, by their numbers: errors don't pass from one isolate to another. */
const local = new Map();

/** What to call when the load has ended that a wait is for, by the wait's number. */
const wakes = new Map();
native.onWake((wait) => wakes.get(wait)?.());

/** A value as `getValue` told it; null stands for what a codec must read. */
const read = (value, codec) => (value === null ? pendingValue(codec) : value);

/**
 * The value of a key that was missing just now, by `loader`, or by whoever is at it. `look` looks for it once more; `waiting` gets the function that
 * ends the wait early.
 */
async function load({ handle, key, full, codec, time, loader, look, waiting }) {
  for (;;) {
    const begun = native.beginLoad(handle, full, within.getStore() ?? NONE);
    if (begun > 0) return lead(begun, { handle, key, codec, time, loader, look });
    const landed = await wait(-begun, handle, codec, waiting);
    if (landed !== undefined) return landed.value;
    const found = look();
    if (found !== undefined) return found;
  }
}

async function lead(id, { handle, key, codec, time, loader, look }) {
  const own = { error: undefined };
  local.set(id, own);
  try {
    const loads = native.loadWithin(handle, id);
    // Joined before the loader runs, so that one that throws at once is shared too.
    await undefined;
    // Whoever led before may just have ended.
    const found = look();
    if (found !== undefined) return found;
    const value = await within.run(loads, loader, key);
    if (value === undefined) {
      native.endLoad(handle, id, NOTHING);
      return undefined;
    }
    const [tag, payload] = prepare(value, codec);
    return read(native.landValue(handle, id, payload, time, tag), codec);
  } catch (error) {
    own.error = { reason: error };
    native.endLoad(handle, id, FAILED);
    throw error;
  } finally {
    native.endLoad(handle, id, AGAIN);
    local.delete(id);
    // Contexts cost every promise of the isolate something, in versions of Node that have no cheaper way to keep them.
    if (local.size === 0) within.disable();
  }
}

/** The value that another load brings; undefined if one has to look again. */
async function wait(id, handle, codec, waiting) {
  const other = local.get(native.waitTarget(handle, id));
  await new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      wakes.delete(id);
      waiting.delete(end);
      resolve();
    };
    const timer = setTimeout(end, Math.ceil(native.waitLeft(handle, id)));
    wakes.set(id, end);
    waiting.add(end);
    native.wakeAfter(handle, id);
  });
  switch (native.endWait(handle, id)) {
    case VALUE:
      return { value: read(native.landedValue(), codec) };
    case NOTHING:
      return { value: undefined };
    case FAILED:
      if (other?.error !== undefined) throw other.error.reason;
  }
  return undefined;
}

module.exports = { load };
