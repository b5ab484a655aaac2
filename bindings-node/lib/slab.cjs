// Buffers for results: views of a slab that the native half fills.
// A Buffer of its own for every small result would cost five times as much.
"use strict";

const { markAsUntransferable } = require("node:worker_threads");
const native = require("./native.cjs");

const SLAB = 65536;
/** Longer results get memory of their own, so that keeping one does not keep a slab. */
const LONGEST = 4096;

/** What `subarray` makes its results with: called directly it takes half the time. */
const Species = Buffer[Symbol.species];
const isUsable = typeof Species === "function" && Object.getPrototypeOf(Reflect.construct(Species, [0])) === Buffer.prototype;
const View = isUsable ? Species : function View(bytes, offset, length) {
  return Buffer.from(bytes, offset, length);
};

function freshSlab() {
  const fresh = Buffer.allocUnsafeSlow(SLAB).buffer;
  // Every result that was cut from it would go with it.
  markAsUntransferable(fresh);
  return fresh;
}

let slab = freshSlab();
let used = 0;

/** The next `length` bytes of the slab, which were just filled. */
function take(length) {
  const result = new View(slab, used, length);
  used = (used + length + 7) & ~7;
  if (used >= SLAB) {
    slab = freshSlab();
    used = 0;
  }
  return result;
}

/** Calls `copy(arrayBuffer, offset)`, which tells a length, until the result fits. */
function retry(length, copy) {
  for (;;) {
    if (length <= LONGEST) {
      slab = freshSlab();
      used = 0;
      length = copy(slab, used);
      if (length < 0) return undefined;
      if (length <= LONGEST) return take(length);
    } else {
      const own = Buffer.allocUnsafeSlow(length);
      const actual = copy(own.buffer, 0);
      if (actual < 0) return undefined;
      if (actual <= length) return actual === length ? own : own.subarray(0, actual);
      length = actual;
    }
  }
}

/** The bytes of a key, or undefined. */
function getBuffer(handle, key) {
  const length = native.getInto(handle, key, slab, used);
  if (length < 0) return undefined;
  if (length <= LONGEST && length <= SLAB - used) return take(length);
  return retry(length, (buffer, offset) => native.getInto(handle, key, buffer, offset));
}

/** The payload of what `getValue` found. */
function pendingBuffer() {
  const length = native.pendingInto(slab, used);
  if (length <= LONGEST && length <= SLAB - used) return take(length);
  return retry(length, native.pendingInto);
}

module.exports = { getBuffer, pendingBuffer };
