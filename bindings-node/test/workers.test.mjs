// Worker threads and the lives of handles: one engine by name, ends of workers at bad moments.
// What a cache does is tested in cache.test.mjs.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { Cache } from "keystead";

const start = (code, workerData) => new Worker(`const { Cache } = require("keystead"); ${code}`, { eval: true, workerData });

test("workers and the main thread share what has a name", async () => {
  const cache = new Cache({ name: "workers" });
  cache.set("from main", { hello: "Ł" });
  const workers = Array.from({ length: 4 }, (_, id) =>
    start(
      `const { parentPort, workerData } = require("node:worker_threads");
       const cache = new Cache({ name: "workers" });
       for (let at = 0; at < 5000; at += 1) cache.incr("count");
       cache.set("from " + workerData, workerData);
       parentPort.postMessage(cache.get("from main"));`,
      id,
    ),
  );
  for (const message of await Promise.all(workers.map((worker) => once(worker, "message")))) {
    assert.deepEqual(message, [{ hello: "Ł" }]);
  }
  await Promise.all(workers.map((worker) => worker.terminate()));
  assert.equal(cache.get("count"), 20_000);
  assert.deepEqual([0, 1, 2, 3].map((id) => cache.get(`from ${id}`)), [0, 1, 2, 3]);
});

test("what a worker leaves under a name is there when it has ended", async () => {
  const worker = start(`new Cache({ name: "left behind" }).set("k", [1, 2]);`);
  const [status] = await once(worker, "exit");
  assert.equal(status, 0);
  assert.deepEqual(new Cache({ name: "left behind" }).get("k"), [1, 2]);
});

test("workers that are ended in the middle of calls do no harm", async () => {
  const cache = new Cache({ name: "terminated" });
  for (let round = 0; round < 10; round += 1) {
    const worker = start(
      `const { parentPort } = require("node:worker_threads");
       const cache = new Cache({ name: "terminated" });
       const own = new Cache();
       parentPort.postMessage("started");
       for (let at = 0; ; at += 1) {
         cache.set("k" + (at % 100), "x".repeat(at % 5000));
         own.set("k", cache.getBuffer("k0"));
         cache.getMany(["k1", "k2", "none"]);
       }`,
    );
    await once(worker, "message");
    cache.set("k0", Buffer.from([0xff]));
    await worker.terminate();
  }
  cache.set("k", 1);
  assert.equal(cache.get("k"), 1);
  assert.ok(cache.size <= 101);
});

test("a process with open caches, workers and loads under way ends by itself", () => {
  const code = `
    const { Cache } = require("keystead");
    const cache = new Cache({ name: "x" });
    cache.set("k", 1, { ttl: 1000 });
    cache.wrap("l", 60, () => new Promise(() => {}));
    const { Worker } = require("node:worker_threads");
    new Worker('new (require("keystead").Cache)({ name: "x" }).incr("k")', { eval: true })
      .on("exit", () => console.log("ended", cache.get("k")));`;
  assert.equal(execFileSync(process.execPath, ["-e", code], { timeout: 30_000 }).toString(), "ended 2\n");
});

test("caches that are collected unclosed give their handles back", () => {
  const code = `
    const { Cache } = require("keystead");
    (async () => {
      let last;
      for (let round = 0; round < 50; round += 1) {
        for (let at = 0; at < 20; at += 1) new Cache().set("k", "x".repeat(1000));
        gc();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      console.log(process.memoryUsage.rss() < 300e6);
    })();`;
  const words = ["--expose-gc", "-e", code];
  assert.equal(execFileSync(process.execPath, words, { timeout: 60_000 }).toString(), "true\n");
});

test("what has no name ends with its worker", () => {
  const code = `
    const { Worker } = require("node:worker_threads");
    const { once } = require("node:events");
    const work = 'const c = new (require("keystead").Cache)(); for (let i = 0; i < 200; i += 1) c.set("k" + i, "x".repeat(100000));';
    (async () => {
      for (let round = 0; round < 25; round += 1) await once(new Worker(work, { eval: true }), "exit");
      console.log(process.memoryUsage.rss() < 300e6);
    })();`;
  assert.equal(execFileSync(process.execPath, ["-e", code], { timeout: 60_000 }).toString(), "true\n");
});
