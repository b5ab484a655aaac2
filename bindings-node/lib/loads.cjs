// Loading missing keys once for all who want them: the steps of `Cache.wrap` on a miss.
// Who loads and who waits, in this isolate and in all others, the engine decides; a hit never comes here.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const native = require("./native.cjs");
const { pendingValue, prepare } = require("./values.cjs");
const { wakes } = require("./wakes.cjs");

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

/**
 * Milliseconds without a load after which contexts are no longer kept: in versions of Node that have no cheap way to do so they cost every promise
 * of the isolate something, and switching them on and off costs more than a load.
 */
const RESTED = 100;
let resting;

function rest() {
  resting = undefined;
  if (local.size === 0) within.disable();
}

/** A value as `getValue` told it; null stands for what a codec must read. */
const read = (value, codec) => (value === null ? pendingValue(codec) : value);

/**
 * The value of a key that was missing just now, by `loader`, or by whoever is at it. `look` looks for it once more; `waiting` gets the function that
 * ends the wait early.
 */
async function load({ handle, key, full, codec, time, loader, look, waiting }) {
  for (;;) {
    const outer = within.getStore() ?? NONE;
    const begun = native.beginLoad(handle, full, outer);
    if (begun > 0) return lead(begun, outer, { handle, key, codec, time, loader, look });
    const landed = await wait(-begun, handle, codec, waiting);
    if (landed !== undefined) return landed.value;
    const found = look();
    if (found !== undefined) return found;
  }
}

async function lead(id, outer, { handle, key, codec, time, loader, look }) {
  const own = { error: undefined };
  let how = AGAIN;
  local.set(id, own);
  try {
    // Those that have ended since don't count any more.
    const loads = outer === NONE ? [id] : native.loadWithin(handle, id);
    // Joined before the loader runs, so that one that throws at once is shared too.
    await undefined;
    // Whoever led before may just have ended.
    const found = look();
    if (found !== undefined) return found;
    const value = await within.run(loads, loader, key);
    if (value === undefined) {
      how = NOTHING;
      return undefined;
    }
    const [tag, payload] = prepare(value, codec);
    const landed = native.landValue(handle, id, payload, time, tag);
    how = VALUE;
    return read(landed, codec);
  } catch (error) {
    if (how !== VALUE) {
      how = FAILED;
      own.error = { reason: error };
    }
    throw error;
  } finally {
    if (how !== VALUE) native.endLoad(handle, id, how);
    local.delete(id);
    if (local.size === 0) resting ??= setTimeout(rest, RESTED).unref();
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
