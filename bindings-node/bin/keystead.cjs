#!/usr/bin/env node
// The command line of the npm package: `npx keystead serve [valkey.conf] [--port ...]`.
// What the options mean is the engine's affair, which takes valkey-server's arguments.
"use strict";

const native = require("../lib/native.cjs");
const { opened } = require("../lib/listener.cjs");
const { version } = require("../package.json");

const HELP = `Keystead ${version}: Valkey inside your process.

Usage: keystead serve [valkey.conf] [--name value ...]

  serve    Serves an engine over RESP2 and RESP3. Takes valkey-server's arguments, such as --port 7000 --maxmemory 100mb.
`;

/** Serves until SHUTDOWN, SIGINT or SIGTERM ends it. */
async function serve(words) {
  const server = await opened(native.serve(words));
  for (const note of server.notes) console.error(note);
  for (const address of server.addresses) console.error(`Keystead ${version} listens on ${address}`);
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.on(signal, () => {
      try {
        server.shutDown();
      } catch (error) {
        console.error(error.message);
      }
    });
  }
  await server.served();
}

async function main([verb, ...words]) {
  switch (verb) {
    case "serve":
      return serve(words);
    case "--version":
    case "-V":
      console.log(`keystead ${version}`);
      return undefined;
    case "--help":
    case "-h":
    case "help":
      process.stdout.write(HELP);
      return undefined;
    default:
      process.stderr.write(HELP);
      process.exitCode = 2;
      return undefined;
  }
}

main(process.argv.slice(2)).then(
  // Connections have threads of their own, which end with the process.
  () => process.exit(),
  (error) => {
    console.error(error.message);
    process.exit(1);
  },
);
