// BullMQ 6: by its adapters for ioredis and node-redis, on the stock clients and on our own class, in process and over a socket.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { dirname } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as bullmq from "bullmq";
import { createClient } from "redis";
import IORedis from "ioredis";
import { Redis as Face } from "keystead/ioredis";
import { declare } from "./bullmq.mjs";
import { PLACES, nodeRedis, opened } from "./places.mjs";

const { RedisConnection, createIORedisClient } = bullmq;
const BLOCKING = { maxRetriesPerRequest: null };
let number = 0;
const name = () => `bullmq 6 ${process.pid} ${(number += 1)}`;

const CONNECTIONS = {
  "in process, by options with a Connector": PLACES["in process"],
  "in process, by a client of keystead/ioredis": async () => opened(Face, { name: name(), ...BLOCKING }),
  "over a socket, by ioredis": PLACES["over a socket"],
  "over a socket, by node-redis": () => nodeRedis(createClient),
};

for (const [place, connect] of Object.entries(CONNECTIONS)) declare(`BullMQ 6 ${place}`, bullmq, connect);

test("BullMQ 6 makes all its clients of our class where the factory says so", { timeout: 120_000 }, async (context) => {
  const made = [];
  RedisConnection.clientFactory = (options) => {
    const client = createIORedisClient(opened(Face, { ...options, ...BLOCKING }));
    made.push(client);
    return client;
  };
  context.after(() => (RedisConnection.clientFactory = undefined));
  const connection = { name: name() };
  const queue = new bullmq.Queue("jobs", { connection });
  const events = new bullmq.QueueEvents("jobs", { connection });
  await events.waitUntilReady();
  const worker = new bullmq.Worker("jobs", async (job) => job.data + 1, { connection });
  const job = await queue.add("one", 41);
  assert.equal(await job.waitUntilFinished(events), 42);
  for (const one of [worker, events, queue]) await one.close();
  assert.ok(made.length >= 3);
});

/** Calls of BullMQ's interface `IRedisClient`, in their order. */
const CALLS = [
  ["set", "s", "v", { PX: 100_000 }], ["set", "t", 5, { EX: 100 }], ["get", "s"], ["get", "none"], ["del", "s", "t"],
  ["hset", "h", { a: 1, b: "x" }], ["hget", "h", "a"], ["hget", "h", "none"], ["hmget", "h", "a", "none"], ["hgetall", "h"], ["hgetall", "none"], ["hexists", "h", "b"], ["hdel", "h", "a", "b"],
  ["runCommand", "fill", ["z", "l", "st"]], ["zrange", "z", 0, -1], ["zrange", "z", 0, -1, { WITHSCORES: true }], ["zrevrange", "z", 0, 1, { WITHSCORES: true }], ["zcard", "z"], ["zscore", "z", "b"], ["zscore", "z", "none"],
  ["lrange", "l", 0, -1], ["llen", "l"], ["lpos", "l", "b"], ["lpos", "l", "none"], ["ltrim", "l", 0, 0], ["smembers", "st"],
  ["xadd", "x", "1-1", { f: 1 }], ["xadd", "x", "2-1", { f: 2 }, { MAXLEN: 100, approximate: true }], ["xread", [{ key: "x", id: "0" }], { COUNT: 1 }], ["xread", [{ key: "x", id: "9" }], { BLOCK: 5 }], ["xtrim", "x", "MAXLEN", 1],
  ["bzpopmin", "z", 1], ["bzpopmin", "none", 0.01], ["scan", 0, { MATCH: "z*", COUNT: 1000 }], ["clientSetName", "ada"],
  ["runCommand", "echo", ["k", 1.5, undefined, null, Buffer.from([255])]], ["runCommand", "fails", ["k"]],
];

/** What the calls come to. */
async function walk(client) {
  client.defineCommand("fill", {
    numberOfKeys: 3,
    lua: "redis.call('zadd', KEYS[1], 1, 'a', 2.5, 'b', 3, 'c') redis.call('rpush', KEYS[2], 'a', 'b') redis.call('sadd', KEYS[3], 'm') return {1, 'two', cjson.encode({3})}",
  });
  client.defineCommand("echo", { numberOfKeys: 1, lua: "return {#ARGV, ARGV[1], ARGV[2], ARGV[3], #ARGV[4]}" });
  client.defineCommand("fails", { numberOfKeys: 1, lua: "return redis.error_reply('NO reason')" });
  const results = [];
  for (const [method, ...words] of CALLS) {
    const result = await client[method](...words).catch((error) => `error: ${error.message}`);
    results.push([method, result]);
  }
  const transaction = client.multi().hset("h", { a: 1 }).hgetall("h").llen("l").lrange("l", 0, -1).zrange("z", 0, -1).smembers("st").hscan("h", 0, { COUNT: 10 }).sscan("st", "0").runCommand("echo", ["k", 1, 2, 3, 4]).del("h");
  results.push(["multi", await transaction.exec()]);
  results.push(["pipeline", await client.pipeline().llen("l").runCommand("echo", ["k", 1, 2, 3, 4]).del("l", "z").exec()]);
  const found = [];
  for await (const keys of client.scanStream({ match: "*", count: 1 })) found.push(...keys);
  results.push(["scanStream", found.sort()]);
  results.push(["info", /redis_version:\d/.test(await client.info()) && /maxmemory_policy:noeviction/.test(await client.info())]);
  results.push(["clientList", (await client.clientList()).includes("name=ada"), (await client.clientInfo()).includes("name=ada")]);
  return results;
}

test("every call of BullMQ's IRedisClient is the same on all clients", { timeout: 120_000 }, async () => {
  const stock = createIORedisClient(opened(IORedis, await PLACES["over a socket"]()));
  const expected = await walk(stock);
  const failed = expected.filter(([, result]) => typeof result === "string" && result.startsWith("error: ")).map(([method, result]) => [method, result]);
  assert.deepEqual(failed, [["runCommand", "error: NO reason"]]);
  for (const client of [opened(IORedis, await PLACES["in process"]()), opened(Face, { name: name() })]) {
    assert.deepEqual(await walk(createIORedisClient(client)), expected);
  }
});

test("a blocked client that is disconnected rejects, and says so", async () => {
  const client = createIORedisClient(opened(Face, { name: name(), ...BLOCKING }));
  const events = [];
  for (const event of ["close", "end"]) client.on(event, () => events.push(event));
  const ended = new Promise((resolve) => client.once("end", resolve));
  const waits = client.bzpopmin("none", 0);
  client.disconnect();
  await assert.rejects(waits, { message: "Connection is closed." });
  await ended;
  assert.deepEqual(events, ["close", "end"]);
  assert.equal(client.status, "end");
});

test("a process ends when its queues and workers are closed, and not before its worker has the job", () => {
  const script = `
    import { Queue, Worker } from "bullmq";
    import { Connector } from "keystead/connector";
    const connection = { Connector, name: "ends" };
    const queue = new Queue("jobs", { connection });
    const worker = new Worker("jobs", async (job) => {
      console.log(job.data);
      setImmediate(() => worker.close());
    }, { connection });
    await worker.waitUntilReady();
    await queue.add("one", "done", { delay: 30 });
    await queue.close();
  `;
  const cwd = dirname(fileURLToPath(import.meta.url));
  assert.equal(execFileSync(process.execPath, ["--input-type=module", "-e", script], { cwd, encoding: "utf8", timeout: 60_000 }), "done\n");
});
