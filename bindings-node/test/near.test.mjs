// The near cache: it answers as the engine does, after whatever changed a key, from whatever isolate; and it is bounded.
// How fast a hit is, bench/ tells.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { Cache } from "keystead";
import { Redis } from "keystead/ioredis";

const native = createRequire(import.meta.url)(createRequire(import.meta.url).resolve("keystead").replace(/index\.cjs$/, "lib/native.cjs"));
let number = 0;
const fresh = (near, options) => {
  const name = `near ${(number += 1)}`;
  return [new Cache({ name, near, ...options }), new Cache({ name, ...options })];
};

test("values, absence and defaults are those of the engine", () => {
  const [cache] = fresh({ max: 100 }, { prefix: "p:" });
  for (const value of ["text", "", 1, -2.5, 2n ** 60n, true, null, { a: [1] }, Buffer.from([1, 2])]) {
    cache.set("k", value);
    for (let round = 0; round < 3; round += 1) assert.deepEqual(cache.get("k"), value);
  }
  assert.equal(cache.get("none"), undefined);
  assert.equal(cache.get("none", 7), 7);
  cache.set("none", 1);
  assert.equal(cache.get("none"), 1);
  assert.equal(cache.get(Buffer.from("none")), 1);
});

test("every kind of change is seen at once, whoever makes it", async () => {
  const [near, other] = fresh({ max: 100 });
  const redis = new Redis({ name: near.name });
  const changes = [
    [() => other.set("k", "a"), "a"],
    [() => near.set("k", "b"), "b"],
    [() => other.delete("k"), undefined],
    [() => other.incr("k", 5), 5],
    [() => other.setMany({ k: "many" }), "many"],
    [() => other.call("APPEND", "k", "!"), "many!"],
    [() => redis.set("k", "c"), "c"],
    [() => redis.multi().set("k", "d").append("k", "e").exec(), "de"],
    [() => redis.rename("k", "other"), undefined],
    [() => redis.copy("other", "k"), "de"],
    [() => other.clear(), undefined],
    [() => redis.set("k", "f", "PX", 10_000), "f"],
    [() => redis.pexpireat("k", 1), undefined],
    [() => redis.set("k", "g"), "g"],
    [() => redis.flushall(), undefined],
    [() => other.set("k", "h"), "h"],
    [() => redis.swapdb(0, 1), undefined],
  ];
  for (const [change, expected] of changes) {
    near.get("k");
    await change();
    assert.equal(near.get("k"), expected, String(change));
    assert.equal(near.get("k"), expected, String(change));
  }
  redis.disconnect();
});

test("hits make no native call", () => {
  const [near] = fresh({ max: 10 });
  near.set("k", "v");
  near.get("k");
  const before = near.stats();
  for (let round = 0; round < 100; round += 1) assert.equal(near.get("k"), "v");
  assert.equal(near.stats().hits, before.hits);
});

test("values that expire do so in time, also in a loop that never yields", async () => {
  const [near] = fresh({ max: 10 });
  near.set("k", "v", { ttl: 0.08 });
  const end = Date.now() + 80;
  let served = 0;
  while (Date.now() < end - 40) served += near.get("k") === "v" ? 1 : 0;
  assert.ok(served > 0);
  // Hits share a look at the clock: if this thread stands still between them, that many come late.
  let late = 0;
  for (;;) {
    const before = Date.now();
    if (near.get("k") !== "v") break;
    late += before > end ? 1 : 0;
  }
  assert.ok(late <= 8, `served ${late} times after its deadline`);
  near.set("k", "w", { ttl: 0.05 });
  near.get("k");
  await sleep(60);
  assert.equal(near.get("k"), undefined);
  near.set("k", "x", { ttl: 0.05 });
  near.get("k");
  near.touch("k");
  await sleep(60);
  assert.equal(near.get("k"), "x", "a deadline that was taken away is gone");
});

test("it is bounded, and keeps what is used", () => {
  const [near, other] = fresh({ max: 10 });
  for (let at = 0; at < 100; at += 1) other.set(`k${at}`, at);
  const isHit = (key) => {
    const before = near.stats().hits;
    near.get(key);
    return near.stats().hits === before;
  };
  for (let at = 0; at < 100; at += 1) {
    near.get("k0");
    assert.equal(near.get(`k${at}`), at);
  }
  assert.ok(isHit("k0"), "what is used all the time stays");
  let hits = 0;
  for (let at = 1; at < 100; at += 1) hits += isHit(`k${at}`) ? 1 : 0;
  assert.ok(hits <= 10, `${hits} values were kept`);
});

test("objects are kept only if asked for", () => {
  const [plain] = fresh({ max: 10 });
  plain.set("o", { a: 1 });
  assert.notEqual(plain.get("o"), plain.get("o"));
  plain.get("o").a = 2;
  assert.deepEqual(plain.get("o"), { a: 1 });
  const [keeping] = fresh({ max: 10, objects: true });
  keeping.set("o", { a: 1 });
  assert.equal(keeping.get("o"), keeping.get("o"));
  keeping.set("o", { a: 2 });
  assert.deepEqual(keeping.get("o"), { a: 2 });
});

test("another database has other keys, and a closed cache none", () => {
  const [near] = fresh({ max: 10 });
  near.set("k", "in 0");
  near.get("k");
  near.call("SELECT", 1);
  assert.equal(near.get("k"), undefined);
  near.call("select", 0);
  assert.equal(near.get("k"), "in 0");
  near.close();
  assert.throws(() => near.get("k"), { code: "KS_ERR_CLOSED" });
});

test("a wrong type is an error, and options are checked", () => {
  const [near] = fresh({ max: 10 });
  near.call("HSET", "h", "f", "v");
  assert.throws(() => near.get("h"), { code: "KS_ERR_WRONGTYPE" });
  for (const max of [0, -1, 1.5, undefined, "10"]) assert.throws(() => new Cache({ near: { max } }), { code: "KS_ERR_USAGE" });
  const handle = native.open("near arguments");
  assert.throws(() => native.getVersioned(handle, "k", new Uint32Array(3)), { code: "KS_ERR_USAGE" });
  assert.throws(() => native.getVersioned(handle, "k", Buffer.alloc(16)), { code: "KS_ERR_USAGE" });
  native.close(handle);
});

test("caches of one engine share its versions; engines do not", () => {
  const [one, same] = [new Cache({ name: "shared", near: { max: 1 } }), new Cache({ name: "shared", near: { max: 1 } })];
  const other = new Cache({ near: { max: 1 } });
  one.set("k", 1);
  assert.deepEqual([one.get("k"), same.get("k"), other.get("k")], [1, 1, undefined]);
  same.set("k", 2);
  assert.deepEqual([one.get("k"), same.get("k"), other.get("k")], [2, 2, undefined]);
});

test("a worker's writes are seen at once, and its near cache sees ours", async () => {
  const near = new Cache({ name: "near workers", near: { max: 10 } });
  near.set("k", 0);
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { Cache } = require(workerData);
    const near = new Cache({ name: "near workers", near: { max: 10 } });
    parentPort.on("message", (round) => {
      const seen = near.get("k");
      near.set("k", round);
      parentPort.postMessage([seen, near.get("k")]);
    });`;
  const worker = new Worker(code, { eval: true, workerData: createRequire(import.meta.url).resolve("keystead") });
  for (let round = 1; round <= 200; round += 1) {
    near.set("k", -round);
    assert.equal(near.get("k"), -round);
    const answer = new Promise((resolve) => worker.once("message", resolve));
    worker.postMessage(round);
    assert.deepEqual(await answer, [-round, round]);
    assert.equal(near.get("k"), round);
  }
  await worker.terminate();
  near.set("k", "still there");
  assert.equal(near.get("k"), "still there");
});

test("no copy is stale once a write has returned, while workers write without pause", async () => {
  const near = new Cache({ name: "near race", near: { max: 100 } });
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { Cache } = require(workerData.path);
    const cache = new Cache({ name: "near race" });
    const progress = new BigInt64Array(workerData.progress);
    for (let round = 1; round <= 200000; round += 1) {
      cache.set("k", round);
      Atomics.store(progress, 0, BigInt(round));
    }
    parentPort.postMessage("done");`;
  const progress = new SharedArrayBuffer(8);
  const path = createRequire(import.meta.url).resolve("keystead");
  near.set("k", 0);
  const worker = new Worker(code, { eval: true, workerData: { path, progress } });
  const seen = new BigInt64Array(progress);
  let [isDone, reads] = [false, 0];
  worker.once("message", () => (isDone = true));
  while (!isDone) {
    for (let at = 0; at < 2000; at += 1) {
      const written = Number(Atomics.load(seen, 0));
      const value = near.get("k");
      assert.ok(value >= written, `${value} was served after ${written} had been written`);
      reads += 1;
    }
    await sleep(0);
  }
  assert.ok(reads > 0 && near.get("k") === 200_000);
  await worker.terminate();
});
