#!/usr/bin/env node
// The command line of the npm package, as that of the cargo binary: `npx keystead serve [valkey.conf] [--port ...]`, `check`, `import`, `export`.
"use strict";

const native = require("../lib/native.cjs");

// A server ends on these by itself. Node's own handlers would raise them anew, for ever, since those of the server call them.
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => {});

// Connections have threads of their own, which end with the process.
process.exit(native.runCommandLine(["keystead", ...process.argv.slice(2)]));
