// A near cache: values kept in this isolate beside the engine, each with the version of its key.
// A hit costs two look-ups and no native call; whatever changes a key counts its slot up in memory that all isolates share, so that what is
// kept here is never served after a write has returned, whoever wrote. What is found in the engine, and how, is the native half's.
//
// Plain loads of the counts suffice: nothing is read here that was written elsewhere but they, and whoever tells this isolate that a write has
// returned orders its count before.
// A slot is shared by all keys of one hash, of 65,536: a write to one of them costs the others a look at the engine. Time counts no
// slot: deadlines are kept, and judged by a clock that is read at most every 8 hits of one turn of the event loop; less than 20 ms
// before it, the engine is asked. What must go when there is no room is chosen by SIEVE: a hand moves from old entries to new ones, lets
// those stay that were used since it last came by, and takes the first that was not. O(1) amortised, no work at a hit but a mark.
"use strict";

const native = require("./native.cjs");
const { flag, known, usage } = require("./usage.cjs");
const { pendingValue } = require("./values.cjs");

/** Nearer to its deadline than this, in milliseconds, a value is not trusted. */
const MARGIN = 20;
/** Hits that share a look at the clock. */
const SHARED = 8;

let now = 0;
let left = 0;
let isArmed = false;

function refresh() {
  now = Date.now();
  left = SHARED;
  if (!isArmed) {
    isArmed = true;
    // The next turn looks at the clock again.
    setTimeout(() => {
      isArmed = false;
      left = 0;
    }, 1).unref();
  }
  return now;
}

/** Unix milliseconds, late by no more than what happens between 8 hits of one turn. */
function coarseNow() {
  if (left === 0) return refresh();
  left -= 1;
  return now;
}

/** By the address of an engine's versions: their numbers, seen by JavaScript, as long as a near cache uses them. */
const views = new Map();

function slotsOf(handle) {
  const id = native.versionsId(handle);
  const known = views.get(id)?.deref();
  if (known !== undefined) return known;
  for (const [other, view] of views) if (view.deref() === undefined) views.delete(other);
  const view = new Int32Array(native.versions(handle));
  views.set(id, new WeakRef(view));
  return view;
}

/** Slot, count and deadline of what was read last. */
const stamp = new Uint32Array(4);

class Entry {
  constructor(value, slot, count, deadline) {
    this.value = value;
    this.slot = slot;
    this.count = count;
    /** Unix milliseconds, less the margin; Infinity is never. */
    this.deadline = deadline;
    this.isUsed = false;
  }
}

const isPlain = (value) => typeof value !== "object" || value === null;

class Near {
  constructor(handle, prefix, codec, options) {
    if (options === null) throw usage("near must be an object");
    const { max } = known(options, ["max", "objects"]);
    const objects = flag(options, "objects");
    if (!Number.isInteger(max) || max < 1) throw usage("near.max must be a number of values above 0");
    this.handle = handle;
    this.prefix = prefix;
    this.codec = codec;
    this.max = max;
    this.keepsObjects = objects;
    this.slots = slotsOf(handle);
    this.entries = new Map();
    this.hand = this.entries.entries();
  }

  /** The value of a key, a string; undefined if there is none. */
  get(key) {
    const entry = this.entries.get(key);
    if (
      entry !== undefined && this.slots[entry.slot] === entry.count
      && (entry.deadline === Infinity || coarseNow() < entry.deadline)
    ) {
      entry.isUsed = true;
      return entry.value;
    }
    return this.fill(key, entry);
  }

  fill(key, entry) {
    let value = native.getVersioned(this.handle, this.prefix === "" ? key : this.prefix + key, stamp);
    const [slot, count, low, high] = stamp;
    if (value === null) value = pendingValue(this.codec);
    if (!this.keepsObjects && !isPlain(value)) {
      // Whoever gets an object may change it.
      if (entry !== undefined) this.entries.delete(key);
      return value;
    }
    const deadline = high === 0xffff_ffff ? Infinity : high * 2 ** 32 + low - MARGIN;
    if (entry !== undefined) {
      entry.value = value;
      entry.slot = slot;
      entry.count = count | 0;
      entry.deadline = deadline;
    } else {
      if (this.entries.size >= this.max) this.evict();
      this.entries.set(key, new Entry(value, slot, count | 0, deadline));
    }
    return value;
  }

  evict() {
    for (;;) {
      const { done, value } = this.hand.next();
      if (done) {
        this.hand = this.entries.entries();
      } else if (value[1].isUsed) {
        value[1].isUsed = false;
      } else {
        this.entries.delete(value[0]);
        return;
      }
    }
  }

  clear() {
    this.entries.clear();
  }
}

module.exports = { Near };
