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

const LOADER = `
  const { parentPort, workerData } = require("node:worker_threads");
  const { setTimeout: sleep } = require("node:timers/promises");
  const cache = new Cache({ name: workerData });
  const load = async () => {
    cache.incr("loads");
    parentPort.postMessage("loading");
    await sleep(60);
    return { loads: cache.get("loads") };
  };
`;

/** The next messages of a worker that are no announcement of a load. */
async function answer(worker) {
  for (;;) {
    const [message] = await once(worker, "message");
    if (message !== "loading") return message;
  }
}

test("workers that want the same key load it once", async () => {
  const cache = new Cache({ name: "one load" });
  const code = `${LOADER} Promise.all([cache.wrap("k", 60, load), cache.wrap("k", 60, load)]).then((all) => parentPort.postMessage(all));`;
  const workers = Array.from({ length: 4 }, () => start(code, "one load"));
  const answers = workers.map(answer);
  assert.deepEqual(await Promise.all(answers), Array(4).fill([{ loads: 1 }, { loads: 1 }]));
  assert.equal(cache.get("loads"), 1);
  assert.deepEqual(await cache.wrap("k", 60, () => assert.fail("loaded again")), { loads: 1 });
  await Promise.all(workers.map((worker) => worker.terminate()));
});

test("workers whose loads are crossed with ours, or that change what we load, do not keep us waiting", async () => {
  const cache = new Cache({ name: "crossed" });
  const worker = start(`${LOADER} cache.wrap("a", 60, async () => { parentPort.postMessage("loading"); await sleep(50); return cache.wrap("b", 60, () => 1); }).then((value) => parentPort.postMessage(value));`, "crossed");
  await once(worker, "message");
  const answered = answer(worker);
  const begun = performance.now();
  assert.equal(await cache.wrap("b", 60, async () => (await new Promise((resolve) => setTimeout(resolve, 50)), cache.wrap("a", 60, () => 1))), 1);
  assert.equal(await answered, 1);
  assert.ok(performance.now() - begun < 1900);
  await worker.terminate();

  const loading = cache.wrap("k", 60, () => new Promise((resolve) => setTimeout(resolve, 200, "old")));
  const other = start('new Cache({ name: "crossed" }).set(Buffer.from("k"), "new");');
  await once(other, "exit");
  assert.deepEqual([await loading, cache.get("k")], ["old", "new"]);
});

test("a load whose worker ends, or fails, is taken over", async () => {
  const cache = new Cache({ name: "taken over" });
  const worker = start(`${LOADER} cache.wrap("k", 60, () => { parentPort.postMessage("loading"); return new Promise(() => setInterval(() => {}, 1000)); });`, "taken over");
  await once(worker, "message");
  const waiting = cache.wrap("k", 60, () => "mine");
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(cache.has("k"), false);
  await worker.terminate();
  assert.equal(await waiting, "mine");

  const failing = start(`${LOADER} cache.wrap("f", 60, async () => { parentPort.postMessage("loading"); await sleep(30); throw new Error("down"); }).catch((error) => parentPort.postMessage(error.message));`, "taken over");
  await once(failing, "message");
  const failed = answer(failing);
  assert.equal(await cache.wrap("f", 60, () => "up"), "up");
  assert.equal(await failed, "down");
  await failing.terminate();

  const other = new Cache({ name: "taken over" });
  const never = other.wrap("c", 60, () => new Promise(() => {}));
  await new Promise((resolve) => setTimeout(resolve, 5));
  const after = cache.wrap("c", 60, () => "after closing");
  other.close();
  assert.equal(await after, "after closing");
  void never;
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
