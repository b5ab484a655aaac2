// Calls that other threads cause in this isolate: what is waited for has a number, under which a function stands here.
// Who rings, and when that keeps the isolate alive, is src/hot.rs's affair.
"use strict";

const native = require("./native.cjs");

/** What to call when a wait is over, by its number. */
const wakes = new Map();

native.onWake((wait, isKept) => {
  if (isKept) native.rest();
  wakes.get(wait)?.();
});

module.exports = { wakes };
