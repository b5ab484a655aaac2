// The CommonJS entry of keystead/ioredis.
// The ESM entry is ioredis.mjs; both give the same classes.
"use strict";

const { Connector } = require("./lib/connector.cjs");
const { Redis, ReplyError } = require("./lib/ioredis.cjs");

module.exports = { Connector, Redis, ReplyError, default: Redis };
