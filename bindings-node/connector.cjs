// The CommonJS entry of keystead/connector.
// The ESM entry is connector.mjs; both give the same class.
"use strict";

module.exports = require("./lib/connector.cjs");
