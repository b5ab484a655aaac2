// The stock ioredis on an engine of this process, through its own Connector: all that it can do over a socket.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import IORedis, { ReplyError } from "ioredis";
import { Cache } from "keystead";
import { Connector } from "keystead/connector";
import { Connector as Same, Redis as Face } from "keystead/ioredis";
import { compare, path, skip } from "./oracle.mjs";
import { walk } from "./rows.mjs";

let number = 0;
const fresh = (options) => new IORedis({ Connector, name: `connector ${(number += 1)}`, ...options });

/** Runs a script in a process of its own, which has to end by itself. */
function run(script) {
  return execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8", timeout: 60_000 });
}

const IMPORTS = 'import Redis from "ioredis"; import { Connector } from "keystead/connector";';

test("it is the same class wherever it is imported from", () => {
  assert.equal(Same, Connector);
});

test("a stock client shares the engine with caches and clients of its name", async () => {
  const name = "connector shared";
  const [cache, face, stock] = [new Cache({ name }), new Face({ name }), new IORedis({ Connector, name })];
  await stock.set("k", "größe");
  assert.equal(cache.getString("k"), "größe");
  assert.equal(await face.get("k"), "größe");
  await face.set("bytes", Buffer.from([0, 255, 13, 10]));
  assert.deepEqual(await stock.getBuffer("bytes"), Buffer.from([0, 255, 13, 10]));
  assert.equal(stock.status, "ready");
  // The stream is no socket.
  assert.equal(stock.stream.remoteAddress, undefined);
  for (const client of [cache, face, stock]) (client.close ?? client.disconnect).call(client);
});

test("long values, bytes, and strings that have no form in UTF-8 go as over a socket", async () => {
  const redis = fresh();
  const long = "ü".repeat(3_000_000);
  await redis.set("long", long);
  assert.equal(await redis.get("long"), long);
  const bytes = Buffer.alloc(5_000_000, 7);
  await redis.set("bytes", bytes);
  assert.ok(bytes.equals(await redis.getBuffer("bytes")));
  await redis.set("lone", "a\ud800b");
  assert.equal(await redis.get("lone"), "a\ufffdb");
  redis.disconnect();
});

test("what is sent in one turn is executed in order, with errors of commands in their places", async () => {
  const redis = fresh();
  const all = Array.from({ length: 2000 }, (_, at) => (at % 500 === 7 ? redis.hget("n", "f") : redis.incr("n")));
  const settledAll = await Promise.allSettled(all);
  let sum = 0;
  for (const [at, { value, reason }] of settledAll.entries()) {
    if (at % 500 === 7) assert.ok(reason instanceof ReplyError && reason.message.startsWith("WRONGTYPE"));
    else assert.equal(value, (sum += 1));
  }
  redis.disconnect();
});

test("pipelines, transactions, WATCH, and scripts reply as on a server", { skip }, async () => {
  const steps = function* (client) {
    client.defineCommand("addUp", { numberOfKeys: 1, lua: "return redis.call('incrby', KEYS[1], ARGV[1] + ARGV[2])" });
    yield client.pipeline().set("a", 1).incr("a").lpush("a", 1).mget("a", "b").exec();
    yield client.multi().set("a", 1).incr("a").hgetall("h").exec();
    yield client.multi().set("a", 1).call("NONSENSE").exec();
    if (!client.options.enableAutoPipelining) {
      // ioredis itself gets stuck where pipelines that it makes by itself are within a transaction.
      yield client.multi({ pipeline: false });
      yield client.set("b", 2);
      yield client.get("b");
      yield client.exec();
    }
    yield client.watch("a");
    yield client.set("a", 5);
    yield client.multi().incr("a").exec();
    yield client.watch("a");
    yield client.unwatch();
    yield client.multi().incr("a").exec();
    yield client.addUp("sum", 3, 4);
    yield client.addUp("sum", 3, 4);
    yield client.pipeline().addUp("sum", 1, 1).get("sum").exec();
    yield client.multi().addUp("sum", 1, 1).get("sum").exec();
    yield client.eval("return {1, 'two', {3, false}, redis.error_reply('no')}", 0);
    yield client.eval("error('broken')", 0).catch((error) => error.message.split(" ")[0]);
    yield client.function("LOAD", "REPLACE", "#!lua name=lib\nredis.register_function('f', function(keys, args) return args[1] end)");
    yield client.fcall("f", 0, "x");
    yield client.hset("h", { a: 1, b: 2 });
    yield client.hgetall("h");
    yield client.hgetallBuffer("h");
  };
  await compare(steps, {}, (options) => new IORedis({ Connector, ...options }));
  await compare(steps, { keyPrefix: "p:", db: 2, stringNumbers: true }, (options) => new IORedis({ Connector, ...options }));
  await compare(steps, { protocol: 3 }, (options) => new IORedis({ Connector, ...options }));
  await compare(steps, { protocol: 3, replyMapping: "resp3" }, (options) => new IORedis({ Connector, ...options }));
  await compare(steps, { enableAutoPipelining: true }, (options) => new IORedis({ Connector, ...options }));
});

for (const options of [{}, { protocol: 3, replyMapping: "resp3" }]) {
  test(`every method resolves to what it does on a server: ${JSON.stringify(options)}`, { skip }, () =>
    walk(new IORedis({ path, ...options }), fresh(options)));
}

test("messages come to subscribers, by channel, pattern and shard", async () => {
  const redis = fresh();
  const other = redis.duplicate();
  const heard = [];
  for (const event of ["message", "pmessage", "smessage", "messageBuffer"]) redis.on(event, (...words) => heard.push([event, ...words.map(String)]));
  assert.equal(await redis.subscribe("news", "more"), 2);
  assert.equal(await redis.psubscribe("n*"), 3);
  assert.equal(await redis.ssubscribe("shard"), 1);
  assert.equal(await other.publish("news", "hi"), 2);
  assert.equal(await other.spublish("shard", "ho"), 1);
  assert.equal(await redis.unsubscribe("news", "more"), 1);
  assert.equal(await redis.punsubscribe(), 0);
  assert.equal(await redis.sunsubscribe(), 0);
  assert.deepEqual(heard.map(([event]) => event).sort(), ["message", "messageBuffer", "pmessage", "smessage"]);
  assert.deepEqual(heard.find(([event]) => event === "pmessage"), ["pmessage", "n*", "news", "hi"]);
  assert.equal(await redis.ping(), "PONG");
  for (const client of [redis, other]) client.disconnect();
});

test("MONITOR sees the commands of others", async () => {
  const redis = fresh();
  const monitor = await redis.monitor();
  const seen = once(monitor, "monitor");
  await redis.set("k", "v");
  const [, words] = await seen;
  assert.deepEqual(words, ["set", "k", "v"]);
  for (const client of [redis, monitor]) client.disconnect();
});

test("under RESP3 a client is told of keys that it has read and others have changed", async () => {
  const redis = fresh({ protocol: 3 });
  const other = redis.duplicate();
  const pushes = [];
  await redis.client("TRACKING", "ON");
  // What the client makes of pushes is its own affair: here are the bytes that it gets.
  redis.stream.on("data", (bytes) => pushes.push(bytes.toString()));
  await redis.get("k");
  await other.set("k", "v");
  while (!pushes.join("").includes("invalidate")) await new Promise((resolve) => setImmediate(resolve));
  assert.match(pushes.join(""), />2\r\n\$10\r\ninvalidate\r\n\*1\r\n\$1\r\nk\r\n/);
  for (const client of [redis, other]) client.disconnect();
});

test("a command that waits keeps no thread and no other client waiting", async () => {
  const redis = fresh();
  const other = redis.duplicate();
  // Four times as many as libuv has threads.
  const waiting = Array.from({ length: 16 }, () => redis.duplicate());
  const all = waiting.map((client, at) => client.bzpopmin(`queue ${at}`, 0));
  await other.ping();
  for (const [at] of waiting.entries()) await other.zadd(`queue ${at}`, at, "job");
  assert.deepEqual(await Promise.all(all), waiting.map((_, at) => [`queue ${at}`, "job", String(at)]));
  assert.equal(await redis.blpop("none", 0.02), null);
  const behind = [redis.blpop("jobs", 0), redis.incr("n"), redis.blpop("jobs", 0), redis.incr("n")];
  await other.rpush("jobs", "a", "b");
  assert.deepEqual(await Promise.all(behind), [["jobs", "a"], 1, ["jobs", "b"], 2]);
  for (const client of [redis, other, ...waiting]) client.disconnect();
});

test("a client that is disconnected waits no longer, and takes nothing along", async () => {
  const redis = fresh();
  const other = redis.duplicate();
  const id = await redis.client("ID");
  const waits = redis.blpop("jobs", 0);
  const isBlocked = async () => (await other.client("LIST")).split("\n").some((line) => line.startsWith(`id=${id} `) && line.includes("cmd=blpop"));
  while (!(await isBlocked()));
  redis.disconnect();
  await assert.rejects(waits, { message: "Connection is closed." });
  assert.equal(await other.rpush("jobs", "a"), 1);
  assert.deepEqual(await other.lrange("jobs", 0, -1), ["a"]);
  other.disconnect();
});

test("the events of a connection come, and it can be opened anew", async () => {
  const redis = fresh({ lazyConnect: true });
  const events = [];
  for (const event of ["connect", "ready", "close", "end", "reconnecting"]) redis.on(event, () => events.push(event));
  await redis.connect();
  await redis.set("k", "v");
  const ended = once(redis, "end");
  assert.equal(await redis.quit(), "OK");
  await ended;
  assert.equal(redis.status, "end");
  await assert.rejects(redis.get("k"), { message: "Connection is closed." });
  await redis.connect();
  assert.equal(await redis.get("k"), "v");
  const again = once(redis, "end");
  redis.disconnect();
  await again;
  assert.deepEqual(events, ["connect", "ready", "close", "end", "connect", "ready", "close", "end"]);
});

test("a client whose stream breaks connects anew and sends again what has no reply", async () => {
  const redis = fresh({ retryStrategy: () => 1, maxRetriesPerRequest: null });
  await redis.set("k", "v");
  const waits = redis.blpop("jobs", 0);
  const ready = once(redis, "ready");
  redis.stream.destroy();
  await ready;
  const other = redis.duplicate();
  await other.rpush("jobs", "a");
  assert.deepEqual(await waits, ["jobs", "a"]);
  for (const client of [redis, other]) client.disconnect();
});

test("an engine that can't be opened is an error of the connection", async () => {
  const redis = fresh({ config: { "no-such-option": 1 }, lazyConnect: true });
  redis.on("error", () => {});
  await assert.rejects(redis.connect(), { code: "KS_ERR_USAGE" });
  assert.throws(() => new IORedis({ Connector, name: "x", dataPath: "y" }), { code: "KS_ERR_USAGE", message: /name and dataPath exclude each other/ });
});

test("a stock client has the password and the user that it was given", async () => {
  const options = { name: "connector users", config: { requirepass: "secret" } };
  const redis = fresh({ ...options, password: "secret" });
  assert.equal(await redis.set("k", "v"), "OK");
  await redis.acl("SETUSER", "reader", "on", ">word", "~k", "+get", "+info", "+client", "+hello", "+ping");
  const reader = fresh({ ...options, username: "reader", password: "word" });
  assert.equal(await reader.get("k"), "v");
  await assert.rejects(reader.set("k", "w"), /NOPERM/);
  for (const client of [redis, reader]) client.disconnect();
});

test("a client without replies due starves no timers", async () => {
  const redis = fresh();
  let [fired, replies] = [false, 0];
  setTimeout(() => (fired = true), 1);
  // It ends only if the timer gets its turn.
  while (!fired) {
    await redis.incr("n");
    replies += 1;
  }
  assert.ok(replies > 0);
  redis.disconnect();
});

test("a stream that is idle for its time says so", async () => {
  const redis = fresh();
  await redis.ping();
  const timeout = once(redis.stream, "timeout");
  redis.stream.setTimeout(5);
  const keepsAlive = setTimeout(() => {}, 60_000);
  await timeout;
  clearTimeout(keepsAlive);
  redis.stream.setTimeout(0);
  redis.disconnect();
});

test("clients in workers share the engine, and wake each other", async () => {
  const name = "connector workers";
  const redis = fresh({ name });
  const code = `
    const { Connector } = require("keystead/connector");
    const { Redis } = require("ioredis");
    const redis = new Redis({ Connector, name: ${JSON.stringify(name)} });
    redis.blpop("to worker", 60).then(([, word]) => redis.rpush("to main", word + "!")).then(() => redis.disconnect());
  `;
  const worker = new Worker(code, { eval: true });
  const waits = redis.blpop("to main", 60);
  const other = redis.duplicate();
  await other.rpush("to worker", "hi");
  assert.deepEqual(await waits, ["to main", "hi!"]);
  await once(worker, "exit");
  for (const client of [redis, other]) client.disconnect();
});

test("a process ends with a client that is idle, or waits for ever, but not while it waits for a time or hears messages", () => {
  assert.equal(run(`${IMPORTS} const redis = new Redis({ Connector }); console.log(await redis.incr("n"));`), "1\n");
  assert.equal(run(`${IMPORTS} const redis = new Redis({ Connector }); redis.blpop("none", 0).catch(() => {}); console.log(1);`), "1\n");
  assert.equal(run(`${IMPORTS} const redis = new Redis({ Connector }); redis.blpop("none", 0.05).then(console.log);`), "null\n");
  const subscribed = (time) => `${IMPORTS} const redis = new Redis({ Connector }); await redis.subscribe("c");
    setTimeout(async () => { console.log("still here"); await redis.quit(); }, ${time}).unref();`;
  assert.equal(run(subscribed(20)), "still here\n");
  assert.equal(run(`${subscribed(30_000)} redis.stream.unref();`), "");
});
