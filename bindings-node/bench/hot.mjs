// Times of the hot calls, in the rows of GOALS [Node], with a Map and an empty native call in the same run.
// Correctness is tested elsewhere; peers are measured in compare.mjs.
//
// node --expose-gc bench/hot.mjs [rounds]

import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import { Cache } from "../index.mjs";
import { Redis } from "../ioredis.mjs";

const native = createRequire(import.meta.url)("../lib/native.cjs");
const ROUNDS = Number(process.argv[2] ?? 9);
const KEYS = 100_000;
const key = (at) => `key:${String(at).padStart(12, "0")}`;
const VALUE = "v".repeat(100);
const BYTES = Buffer.alloc(100, 1);
const KB = Buffer.alloc(1024, 1);

const cache = new Cache({ name: "bench" });
const redis = new Redis({ name: "bench" });
const map = new Map();
const names = Array.from({ length: KEYS }, (_, at) => key(at));
for (const name of names) {
  cache.set(name, VALUE);
  map.set(name, VALUE);
}
const near = new Cache({ name: "bench", near: { max: 10_000 } });
cache.set("expiring", VALUE, 3600);
cache.setString("bytes", BYTES);
cache.setString("kb", KB);
cache.set("object", { id: 1, name: "x", tags: ["a", "b"] });
cache.call("HSET", "hash", "field", "v".repeat(16));
const hot = names[4711];
for (let at = KEYS - 1; at > 0; at -= 1) {
  const other = Math.floor(Math.random() * (at + 1));
  [names[at], names[other]] = [names[other], names[at]];
}

let sink;
/** A loop over a call, and how many operations one turn counts for. */
const rows = {
  "Map.get, hot": (n) => { for (let i = 0; i < n; i += 1) sink = map.get(hot); },
  "empty native call": (n) => { for (let i = 0; i < n; i += 1) sink = native.noop(); },
  "getString(string) -> string, 100 bytes": (n) => { for (let i = 0; i < n; i += 1) sink = cache.getString(hot); },
  "get(string) -> string, 100 bytes, typed": (n) => { for (let i = 0; i < n; i += 1) sink = cache.get(hot); },
  "near cache hit": (n) => { for (let i = 0; i < n; i += 1) sink = near.get(hot); },
  "near cache hit, with a deadline": (n) => { for (let i = 0; i < n; i += 1) sink = near.get("expiring"); },
  "get of a missing key": (n) => { for (let i = 0; i < n; i += 1) sink = cache.get("none"); },
  "getBuffer, 100 bytes": (n) => { for (let i = 0; i < n; i += 1) sink = cache.getBuffer("bytes"); },
  "getBuffer, 1 KB": (n) => { for (let i = 0; i < n; i += 1) sink = cache.getBuffer("kb"); },
  "get -> object (JSON)": (n) => { for (let i = 0; i < n; i += 1) sink = cache.get("object"); },
  "setString(string, string)": (n) => { for (let i = 0; i < n; i += 1) sink = cache.setString("set", VALUE); },
  "set(string, string), typed": (n) => { for (let i = 0; i < n; i += 1) sink = cache.set("set", VALUE); },
  "set(string, Buffer), raw": (n) => { for (let i = 0; i < n; i += 1) sink = cache.setString("setb", BYTES); },
  "set with ttl": (n) => { for (let i = 0; i < n; i += 1) sink = cache.set("sett", VALUE, 60); },
  "hget": (n) => { for (let i = 0; i < n; i += 1) sink = cache.hget("hash", "field"); },
  "incr": (n) => { for (let i = 0; i < n; i += 1) sink = cache.incr("n"); },
};

/** As above, over keys in random order; `per` operations a turn. */
const cold = {
  "Map.get, cold": [1, (n, from) => { for (let i = 0; i < n; i += 1) sink = map.get(names[(from + i) % KEYS]); }],
  "getString, cold": [1, (n, from) => { for (let i = 0; i < n; i += 1) sink = cache.getString(names[(from + i) % KEYS]); }],
  "mget of 100, per key, cold": [100, (n, from) => {
    for (let i = 0; i < n; i += 1) sink = cache.mget(names.slice((from + i * 100) % KEYS, ((from + i * 100) % KEYS) + 100));
  }],
  "getMany of 100, per key, cold": [100, (n, from) => {
    for (let i = 0; i < n; i += 1) sink = cache.getMany(names.slice((from + i * 100) % KEYS, ((from + i * 100) % KEYS) + 100));
  }],
};

const awaited = {
  "awaited Map.get": async (n) => { const get = async (k) => map.get(k); for (let i = 0; i < n; i += 1) sink = await get(hot); },
  "await cache.get": async (n) => { for (let i = 0; i < n; i += 1) sink = await cache.get(hot); },
  "await redis.get (ioredis face)": async (n) => { for (let i = 0; i < n; i += 1) sink = await redis.get(hot); },
  "await redis.set (ioredis face)": async (n) => { for (let i = 0; i < n; i += 1) sink = await redis.set("rs", VALUE); },
  "await redis.exists": async (n) => { for (let i = 0; i < n; i += 1) sink = await redis.exists(hot); },
  "await redis.strlen (by words)": async (n) => { for (let i = 0; i < n; i += 1) sink = await redis.strlen(hot); },
  "await redis.hmget (array reply)": async (n) => { for (let i = 0; i < n; i += 1) sink = await redis.hmget("hash", "field", "none"); },
  "await redis.hgetall, 1 field": async (n) => { for (let i = 0; i < n; i += 1) sink = await redis.hgetall("hash"); },
  "await redis.mget of 100, per key": async (n) => { for (let i = 0; i < n; i += 100) sink = await redis.mget(names.slice(0, 100)); },
  "pipeline of 100 sets, per op": async (n) => {
    for (let i = 0; i < n; i += 100) {
      const pipeline = redis.pipeline();
      for (let j = 0; j < 100; j += 1) pipeline.set(names[j], VALUE);
      sink = await pipeline.exec();
    }
  },
  "pipeline of 100 gets, per op": async (n) => {
    for (let i = 0; i < n; i += 100) {
      const pipeline = redis.pipeline();
      for (let j = 0; j < 100; j += 1) pipeline.get(names[j]);
      sink = await pipeline.exec();
    }
  },
  "pipeline of 100 strlens (by words), per op": async (n) => {
    for (let i = 0; i < n; i += 100) {
      const pipeline = redis.pipeline();
      for (let j = 0; j < 100; j += 1) pipeline.strlen(names[j]);
      sink = await pipeline.exec();
    }
  },
  "multi of 10 sets, per op": async (n) => {
    for (let i = 0; i < n; i += 10) {
      const transaction = redis.multi();
      for (let j = 0; j < 10; j += 1) transaction.set(names[j], VALUE);
      sink = await transaction.exec();
    }
  },
  "awaited wrap, hit": async (n) => { const load = () => 1; for (let i = 0; i < n; i += 1) sink = await cache.wrap(hot, 60, load); },
};

const best = new Map();
function note(name, begin, operations) {
  const time = Number(process.hrtime.bigint() - begin) / operations;
  best.set(name, Math.min(best.get(name) ?? Infinity, time));
}

// Interleaved, so that a disturbance does not hit one row only.
for (let round = 0; round < ROUNDS; round += 1) {
  globalThis.gc?.();
  for (const [name, loop] of Object.entries(rows)) {
    const begin = process.hrtime.bigint();
    loop(200_000);
    note(name, begin, 200_000);
  }
  for (const [name, [per, loop]] of Object.entries(cold)) {
    const begin = process.hrtime.bigint();
    loop(KEYS / per, (round * 7919 * 100) % KEYS);
    note(name, begin, KEYS);
  }
  for (const [name, loop] of Object.entries(awaited)) {
    const begin = process.hrtime.bigint();
    await loop(50_000);
    note(name, begin, 50_000);
  }
}

/** Reads in a second, by workers that start together. */
async function throughput(workers) {
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { Cache } = require(workerData.path);
    const cache = new Cache({ name: "bench" });
    let names = workerData.names, sink;
    for (let i = 0; i < 300000; i += 1) sink = cache.getString(names[i % names.length]);
    parentPort.postMessage("ready");
    parentPort.once("message", () => {
      const end = Date.now() + 1000;
      let done = 0;
      while (Date.now() < end) { for (let i = 0; i < 1000; i += 1) sink = cache.getString(names[(done + i) % names.length]); done += 1000; }
      parentPort.postMessage(done);
    });`;
  const path = createRequire(import.meta.url).resolve("../index.cjs");
  const all = Array.from({ length: workers }, () => new Worker(code, { eval: true, workerData: { path, names: names.slice(0, 1000) } }));
  const message = (worker) => new Promise((resolve) => worker.once("message", resolve));
  await Promise.all(all.map(message));
  const counts = all.map(message);
  for (const worker of all) worker.postMessage("go");
  const sum = (await Promise.all(counts)).reduce((a, b) => a + b, 0);
  await Promise.all(all.map((worker) => worker.terminate()));
  return sum;
}

const [mapTime, emptyTime] = [best.get("Map.get, hot"), best.get("empty native call")];
console.log("| call | ns | x Map.get | x empty native call |\n|---|--:|--:|--:|");
for (const [name, time] of best) {
  console.log(`| ${name} | ${time.toFixed(0)} | ${(time / mapTime).toFixed(1)} | ${(time / emptyTime).toFixed(1)} |`);
}
const [one, two] = [await throughput(1), await throughput(2)];
console.log(`| workers: M gets/s, 1 / 2 | ${(one / 1e6).toFixed(1)} / ${(two / 1e6).toFixed(1)} | ratio ${(two / one).toFixed(2)} | |`);
redis.disconnect();
void sink;
