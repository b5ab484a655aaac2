// Our calls and those of the peers in GOALS [Node], side by side: one JSON object a line on stdout.
// How the figures are gathered and shown is `cargo xtask bench --compare`'s; correctness is tested elsewhere.
//
// A case runs ours and its peers in turn, A B A B, in chunks of some milliseconds; each round gives each peer one ratio, its time to ours
// in that round. What is printed is the median over the rounds, and the lowest and highest. `peer` is empty for our own time
// against its goal. Peers over a socket talk to a server that this starts: KEYSTEAD_ORACLE is the path of valkey-server.
//
// KEYSTEAD_ORACLE=.../valkey-server node --expose-gc bench/compare.mjs [rounds]

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { Cache } from "../index.mjs";
import { Redis } from "../ioredis.mjs";

const require = createRequire(import.meta.url);
const native = require("../lib/native.cjs");
const ROUNDS = Math.max(3, Number(process.argv[2] ?? 7));
/** What a chunk of one call shall take, in nanoseconds. */
const CHUNK = 15e6;
const KEYS = 100_000;

const VALUE = "v".repeat(100);
const BYTES = Buffer.alloc(100, 1);
const KB = Buffer.alloc(1024, 1);
const names = Array.from({ length: KEYS }, (_, at) => `key:${String(at).padStart(12, "0")}`);
const hot = names[4711];
let seed = 1;
for (let at = KEYS - 1; at > 0; at -= 1) {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
  const other = seed % (at + 1);
  [names[at], names[other]] = [names[other], names[at]];
}

let sink;
const loop = (call) => (n) => { for (let i = 0; i < n; i += 1) sink = call(i); };
const awaiting = (call) => async (n) => { for (let i = 0; i < n; i += 1) sink = await call(i); };
/** For calls that count for many. */
const per = (size, run) => Object.assign((n) => run(Math.max(1, Math.ceil(n / size))), { size });

async function time(run, n) {
  const begin = process.hrtime.bigint();
  const result = run(n);
  if (result instanceof Promise) await result;
  const size = run.size ?? 1;
  return Number(process.hrtime.bigint() - begin) / (Math.max(1, Math.ceil(n / size)) * size);
}

/** How many calls a chunk has, once the code is warm. */
async function calibrate(run) {
  let n = run.size ?? 1;
  for (;;) {
    // The best of some: a pause of the machine must not pass for a slow call.
    const each = Math.min(await time(run, n), await time(run, n), await time(run, n));
    if (each * n > CHUNK / 4) return Math.max(run.size ?? 1, Math.round(CHUNK / each));
    n *= 4;
  }
}

function spread(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return { low: sorted[0], median: sorted[sorted.length >> 1], high: sorted[sorted.length - 1] };
}

const round = (number, digits) => Number(number.toFixed(digits));

function print(row) {
  console.log(JSON.stringify({ face: "node", ...row }));
}

/** Measures a case; `goals` has the least ratio for a peer, `goalNs` the most that ours may take. */
async function measure(name, ours, peers = {}, { goalNs = null, goals = {} } = {}) {
  const calls = new Map([["", ours], ...Object.entries(peers).filter(([, run]) => run !== undefined)]);
  const sizes = new Map();
  const times = new Map([...calls.keys()].map((peer) => [peer, []]));
  for (const [peer, run] of calls) sizes.set(peer, await calibrate(run));
  for (let at = 0; at < ROUNDS; at += 1) {
    globalThis.gc?.();
    for (const [peer, run] of calls) times.get(peer).push(await time(run, sizes.get(peer)));
  }
  const own = times.get("");
  const { median: ownMedian, low, high } = spread(own);
  print({ case: name, ours_ns: round(ownMedian, 1), peer: "", peer_ns: null, ratio: null, low: round(low, 1), high: round(high, 1), goal_ns: goalNs, goal_ratio: null });
  for (const [peer, all] of times) {
    if (peer === "") continue;
    const ratio = spread(all.map((theirs, at) => theirs / own[at]));
    print({
      case: name, ours_ns: round(ownMedian, 1), peer, peer_ns: round(spread(all).median, 1),
      ratio: round(ratio.median, 3), low: round(ratio.low, 3), high: round(ratio.high, 3), goal_ns: null, goal_ratio: goals[peer] ?? null,
    });
  }
}

/** A peer, or undefined if it is not installed or does not start here. */
async function peer(name, open) {
  try {
    return await open();
  } catch (error) {
    console.error(`${name} is left out: ${error.message}`);
    return undefined;
  }
}

/** A free port of the loopback. */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function startServer() {
  const program = process.env.KEYSTEAD_ORACLE;
  if (!program) {
    console.error("KEYSTEAD_ORACLE is not set: peers over a socket are left out");
    return undefined;
  }
  const folder = mkdtempSync(join(tmpdir(), "keystead-bench-"));
  const [path, port] = [join(folder, "s"), await freePort()];
  const words = ["--port", String(port), "--bind", "127.0.0.1", "--unixsocket", path, "--save", "", "--dir", folder];
  const child = spawn(program, words, { stdio: "ignore" });
  process.once("exit", () => child.kill("SIGKILL"));
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 10));
  return {
    path,
    port,
    stop() {
      child.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Everything that is compared, filled alike. */
async function openPeers(server) {
  const peers = {};
  peers.map = new Map(names.map((name) => [name, VALUE]));
  peers.lru = await peer("lru-cache", async () => {
    const { LRUCache } = await import("lru-cache");
    const plain = new LRUCache({ max: 2 * KEYS });
    const expiring = new LRUCache({ max: 2 * KEYS, ttl: 3_600_000 });
    for (const name of names) {
      plain.set(name, VALUE);
      expiring.set(name, VALUE);
    }
    return { plain, expiring };
  });
  peers.quick = await peer("quick-lru", async () => {
    const { default: QuickLRU } = await import("quick-lru");
    const cache = new QuickLRU({ maxSize: 2 * KEYS });
    names.forEach((name) => cache.set(name, VALUE));
    return cache;
  });
  peers.node = await peer("node-cache", async () => {
    const { default: NodeCache } = await import("node-cache");
    const [cloning, sharing] = [new NodeCache({ checkperiod: 0 }), new NodeCache({ checkperiod: 0, useClones: false })];
    for (const cache of [cloning, sharing]) {
      names.forEach((name) => cache.set(name, VALUE));
      cache.set("bytes", BYTES);
      cache.set("kb", KB);
    }
    return { cloning, sharing };
  });
  peers.cacheable = await peer("@cacheable/memory", async () => {
    const { CacheableMemory } = await import("@cacheable/memory");
    const cache = new CacheableMemory({ checkInterval: 0 });
    cache.set(hot, VALUE);
    return cache;
  });
  peers.keyv = await peer("keyv", async () => {
    const { default: Keyv } = await import("keyv");
    const cache = new Keyv();
    await cache.set(hot, VALUE);
    return cache;
  });
  peers.manager = await peer("cache-manager", async () => {
    const { createCache } = await import("cache-manager");
    const cache = createCache();
    await cache.set(hot, VALUE);
    return cache;
  });
  peers.mock = await peer("ioredis-mock", async () => {
    const { default: Mock } = await import("ioredis-mock");
    const client = new Mock();
    await client.set(hot, VALUE);
    return client;
  });
  if (server === undefined) return peers;
  for (const [name, load] of [["ioredis", () => import("ioredis")], ["iovalkey", () => import("iovalkey")]]) {
    peers[name] = await peer(name, async () => {
      const { default: Client } = await load();
      const client = new Client({ path: server.path });
      for (let at = 0; at < KEYS; at += 1000) await client.mset(names.slice(at, at + 1000).flatMap((key) => [key, VALUE]));
      await client.hset("hash", "field", "v".repeat(16));
      return client;
    });
  }
  peers.redis = await peer("node-redis", async () => {
    const { createClient } = await import("redis");
    return await createClient({ socket: { path: server.path } }).connect();
  });
  peers.glide = await peer("valkey-glide", async () => {
    const { GlideClient } = await import("@valkey/valkey-glide");
    return await GlideClient.createClient({ addresses: [{ host: "127.0.0.1", port: server.port }] });
  });
  return peers;
}

/** Gets a second of one key by so many workers that start together. */
async function throughput(workers) {
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { Cache } = require(workerData.path);
    const cache = new Cache({ name: "compare" });
    const { names } = workerData;
    let sink;
    const some = () => { for (let i = 0; i < 1000; i += 1) sink = cache.getString(names[i]); };
    for (let i = 0; i < 300; i += 1) some();
    parentPort.postMessage("ready");
    parentPort.once("message", () => {
      const begin = process.hrtime.bigint();
      let done = 0;
      while (process.hrtime.bigint() - begin < 400_000_000n) { some(); done += 1000; }
      parentPort.postMessage(done / Number(process.hrtime.bigint() - begin));
    });`;
  const workerData = { path: require.resolve("../index.cjs"), names: names.slice(0, 1000) };
  const all = Array.from({ length: workers }, () => new Worker(code, { eval: true, workerData }));
  const message = (worker) => new Promise((resolve) => worker.once("message", resolve));
  await Promise.all(all.map(message));
  const rates = all.map(message);
  all.forEach((worker) => worker.postMessage("go"));
  const sum = (await Promise.all(rates)).reduce((a, b) => a + b, 0);
  await Promise.all(all.map((worker) => worker.terminate()));
  return sum;
}

async function compareWorkers() {
  const [ones, twos] = [[], []];
  for (let at = 0; at < ROUNDS; at += 1) {
    ones.push(await throughput(1));
    twos.push(await throughput(2));
  }
  const ratio = spread(twos.map((two, at) => two / ones[at]));
  print({
    case: "gets by two worker threads on one engine", ours_ns: round(1 / spread(twos).median, 1), peer: "one worker thread",
    peer_ns: round(1 / spread(ones).median, 1), ratio: round(ratio.median, 2), low: round(ratio.low, 2), high: round(ratio.high, 2),
    goal_ns: null, goal_ratio: 1.6,
  });
}

/** A call on a peer that may be missing. */
const on = (object, make) => (object === undefined ? undefined : make(object));
/** A hundred names from a place that moves on. */
const batch = (i) => names.slice((i * 100) % KEYS, ((i * 100) % KEYS) + 100);

async function main() {
  const server = await startServer();
  const { map, lru, quick, node, cacheable, keyv, manager, mock, ioredis, iovalkey, redis, glide } = await openPeers(server);
  const cache = new Cache({ name: "compare" });
  const near = new Cache({ name: "compare", near: { max: 10_000 } });
  const face = new Redis({ name: "compare" });
  names.forEach((name) => cache.set(name, VALUE));
  cache.setString("bytes", BYTES);
  cache.setString("kb", KB);
  cache.set("expiring", VALUE, 3600);
  cache.call("HSET", "hash", "field", "v".repeat(16));

  await measure("get(string) -> string, 100 bytes, hot", loop(() => cache.getString(hot)), {
    "Map": loop(() => map.get(hot)),
    "empty native call": loop(() => native.noop()),
    "lru-cache": on(lru, ({ plain }) => loop(() => plain.get(hot))),
    "lru-cache with ttl": on(lru, ({ expiring }) => loop(() => expiring.get(hot))),
    "quick-lru": on(quick, (all) => loop(() => all.get(hot))),
    "node-cache": on(node, ({ cloning }) => loop(() => cloning.get(hot))),
    "node-cache without clones": on(node, ({ sharing }) => loop(() => sharing.get(hot))),
    "@cacheable/memory": on(cacheable, (all) => loop(() => all.get(hot))),
    "ioredis": on(ioredis, (client) => awaiting(() => client.get(hot))),
  }, { goalNs: 90, goals: { "empty native call": round(1 / 7, 3), "ioredis": 120 } });
  await measure("Cache.get(string) -> string, typed, hot", loop(() => cache.get(hot)), {
    "node-cache": on(node, ({ cloning }) => loop(() => cloning.get(hot))),
  }, { goalNs: 90 });
  await measure("get -> Buffer, 100 bytes", loop(() => cache.getBuffer("bytes")), {
    "node-cache": on(node, ({ cloning }) => loop(() => cloning.get("bytes"))),
    "Buffer.from of a copy": loop(() => Buffer.from(BYTES)),
  }, { goalNs: 135 });
  await measure("get -> Buffer, 1 KB", loop(() => cache.getBuffer("kb")), {
    "node-cache": on(node, ({ cloning }) => loop(() => cloning.get("kb"))),
    "Buffer.from of a copy": loop(() => Buffer.from(KB)),
  }, { goalNs: 230 });
  await measure("set(string, string)", loop(() => cache.setString("set", VALUE)), {
    "Map": loop(() => map.set("set", VALUE)),
    "lru-cache": on(lru, ({ plain }) => loop(() => plain.set("set", VALUE))),
    "lru-cache with ttl": on(lru, ({ expiring }) => loop(() => expiring.set("set", VALUE))),
    "quick-lru": on(quick, (all) => loop(() => all.set("set", VALUE))),
    "node-cache": on(node, ({ cloning }) => loop(() => cloning.set("set", VALUE))),
    "@cacheable/memory": on(cacheable, (all) => loop(() => all.set(hot, VALUE))),
  }, { goalNs: 95 });
  await measure("set with ttl", loop(() => cache.set("sett", VALUE, 60)), {
    "lru-cache with ttl": on(lru, ({ expiring }) => loop(() => expiring.set("set", VALUE))),
    "node-cache": on(node, ({ cloning }) => loop(() => cloning.set("set", VALUE, 60))),
  });
  await measure("hget", loop(() => cache.hget("hash", "field")), {}, { goalNs: 120 });
  await measure("incr", loop(() => cache.incr("n")), {}, { goalNs: 55 });
  await measure("near cache hit", loop(() => near.get(hot)), {
    "Map": loop(() => map.get(hot)),
    "lru-cache with ttl": on(lru, ({ expiring }) => loop(() => expiring.get(hot))),
  }, { goalNs: 25, goals: { "lru-cache with ttl": 0.5 } });
  await measure("near cache hit, value with a deadline", loop(() => near.get("expiring")), {
    "lru-cache with ttl": on(lru, ({ expiring }) => loop(() => expiring.get(hot))),
  }, { goalNs: 25, goals: { "lru-cache with ttl": 0.5 } });
  await measure("mget of 100, per key, cold", per(100, loop((i) => cache.mget(batch(i)))), {
    "Map, one by one, cold": per(100, loop((i) => batch(i).map((name) => map.get(name)))),
    "our own single gets, cold": per(100, loop((i) => batch(i).map((name) => cache.getString(name)))),
    "ioredis": on(ioredis, (client) => per(100, awaiting((i) => client.mget(batch(i))))),
    "node-redis": on(redis, (client) => per(100, awaiting((i) => client.mGet(batch(i))))),
  }, { goalNs: 130, goals: { "our own single gets, cold": 1 } });
  await measure("await cache.get", awaiting(() => cache.get(hot)), {
    "awaited Map.get": awaiting(async () => map.get(hot)),
    "keyv": on(keyv, (all) => awaiting(() => all.get(hot))),
    "cache-manager": on(manager, (all) => awaiting(() => all.get(hot))),
  }, { goalNs: 130, goals: { "awaited Map.get": round(1 / 2.6, 3) } });
  await measure("await get through the ioredis face", awaiting(() => face.get(hot)), {
    "ioredis": on(ioredis, (client) => awaiting(() => client.get(hot))),
    "iovalkey": on(iovalkey, (client) => awaiting(() => client.get(hot))),
    "node-redis": on(redis, (client) => awaiting(() => client.get(hot))),
    "valkey-glide, TCP": on(glide, (client) => awaiting(() => client.get(hot))),
    "ioredis-mock": on(mock, (client) => awaiting(() => client.get(hot))),
    "keyv": on(keyv, (all) => awaiting(() => all.get(hot))),
  }, { goalNs: 400 });
  await measure("await strlen through the ioredis face", awaiting(() => face.strlen(hot)), {
    "ioredis": on(ioredis, (client) => awaiting(() => client.strlen(hot))),
  }, { goalNs: 400 });
  await measure("await hgetall through the ioredis face, 1 field", awaiting(() => face.hgetall("hash")), {
    "ioredis": on(ioredis, (client) => awaiting(() => client.hgetall("hash"))),
  });
  await measure("mget of 100 through the ioredis face, per key", per(100, awaiting((i) => face.mget(batch(i)))), {
    "ioredis": on(ioredis, (client) => per(100, awaiting((i) => client.mget(batch(i))))),
    "node-redis": on(redis, (client) => per(100, awaiting((i) => client.mGet(batch(i))))),
    "valkey-glide, TCP": on(glide, (client) => per(100, awaiting((i) => client.mget(batch(i))))),
  });
  const sets = (open, exec) => per(100, awaiting(() => {
    const pipeline = open();
    for (let at = 0; at < 100; at += 1) pipeline.set(names[at], VALUE);
    return exec(pipeline);
  }));
  await measure("pipeline of 100 sets, per op", sets(() => face.pipeline(), (pipeline) => pipeline.exec()), {
    "ioredis": on(ioredis, (client) => sets(() => client.pipeline(), (pipeline) => pipeline.exec())),
    "iovalkey": on(iovalkey, (client) => sets(() => client.pipeline(), (pipeline) => pipeline.exec())),
    "node-redis": on(redis, (client) => sets(() => client.multi(), (pipeline) => pipeline.execAsPipeline())),
  }, { goalNs: 300 });
  await measure("MULTI of 100 sets, per op", sets(() => face.multi(), (pipeline) => pipeline.exec()), {
    "ioredis": on(ioredis, (client) => sets(() => client.multi(), (pipeline) => pipeline.exec())),
    "node-redis": on(redis, (client) => sets(() => client.multi(), (pipeline) => pipeline.exec())),
  });
  await compareWorkers();

  for (const client of [face, ioredis, iovalkey, mock]) client?.disconnect();
  redis?.destroy();
  glide?.close();
  server?.stop();
}

await main();
void sink;
process.exit(0);
