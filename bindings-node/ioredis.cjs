// The CommonJS entry of keystead/ioredis.
// The ESM entry is ioredis.mjs; both give the same class.
"use strict";

const { Redis, ReplyError } = require("./lib/ioredis.cjs");

module.exports = { Redis, ReplyError, default: Redis };
