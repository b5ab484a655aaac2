// Every method of ioredis for data, called here and on a real server: what it resolves to must be equal. A method without a row fails.

import assert from "node:assert/strict";
import { test } from "node:test";
import IORedis from "ioredis";
import { Redis } from "keystead/ioredis";
import { path, skip } from "./oracle.mjs";
import { ROWS, walk } from "./rows.mjs";

/** The groups of commands that are meant, as the server names them. */
const GROUPS = ["generic", "string", "bitmap", "list", "set", "sorted-set", "hash", "stream", "hyperloglog", "geo", "pubsub"];

/** Methods without rows, and why. */
const LEFT_OUT = {
  subscribe: "pubsub.test.mjs",
  psubscribe: "pubsub.test.mjs",
  ssubscribe: "pubsub.test.mjs",
  unsubscribe: "pubsub.test.mjs",
  punsubscribe: "pubsub.test.mjs",
  sunsubscribe: "pubsub.test.mjs",
};

test("every method has a row", { skip }, async () => {
  const real = new IORedis({ path });
  try {
    const docs = await real.call("COMMAND", "DOCS");
    const rows = new Set(ROWS.map(([name]) => name));
    const lacking = [];
    for (let at = 0; at < docs.length; at += 2) {
      const [name, facts] = [docs[at], docs[at + 1]];
      const group = facts[facts.indexOf("group") + 1];
      if (GROUPS.includes(group) && typeof real[name] === "function" && !rows.has(name) && !(name in LEFT_OUT)) lacking.push(name);
    }
    assert.deepEqual(lacking, []);
  } finally {
    real.disconnect();
  }
});

test("every method resolves to what it does on a server", { skip }, () => walk(new IORedis({ path }), new Redis({ name: "methods" })));
