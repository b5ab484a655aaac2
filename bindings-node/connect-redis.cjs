// The CommonJS entry of keystead/connect-redis.
// The ESM entry is connect-redis.mjs; both give the same function.
"use strict";

module.exports = require("./lib/sessions.cjs");
