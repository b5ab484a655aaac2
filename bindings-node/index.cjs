// The package's CommonJS entry.
// The ESM entry is index.mjs; both give the same classes.
"use strict";

const { Cache } = require("./lib/cache.cjs");

module.exports = { Cache };
