// Publishing and subscribing through ioredis's client: promises, events, subscriber mode, workers; beside a real server where there is one.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import IORedis from "ioredis";
import { Cache } from "keystead";
import { Redis } from "keystead/ioredis";
import { path, skip } from "./oracle.mjs";

let number = 0;
const fresh = (options) => new Redis({ name: `pubsub ${(number += 1)}`, ...options });

/** What a program with all kinds of subscriptions sees. */
async function program(hears, tells) {
  const seen = [];
  let notify = () => {};
  const note = (...words) => {
    seen.push(words);
    notify();
  };
  const until = async (count) => {
    while (seen.length < count) await new Promise((resolve) => (notify = resolve));
  };
  for (const event of ["message", "pmessage", "smessage", "messageBuffer", "pmessageBuffer"]) {
    hears.on(event, (...words) => note(event, ...words));
  }
  note("replies", await hears.subscribe("a", "b"), await hears.psubscribe("n*"), await hears.ssubscribe("s"));
  note("told", await tells.publish("a", "text"), await tells.publish("news", "żółć"), await tells.publish("x", "none"));
  await until(6);
  note("sharded", await tells.spublish("s", "sharded"));
  await until(8);
  note("mode", hears.mode, await hears.get("k").catch((error) => error.message), await hears.ping());
  note("counts", await tells.pubsub("NUMSUB", "a", "c"), await tells.pubsub("NUMPAT"));
  note("ends", await hears.unsubscribe("b"), await hears.punsubscribe("n*"), await hears.sunsubscribe());
  note("last", await hears.unsubscribe("a"), hears.mode, await hears.get("k"));
  return seen;
}

/** In no order: a message comes by events, beside replies. */
const sorted = (seen) => seen.map((words) => JSON.stringify(words)).sort();

test("a program sees what it would on a server", { skip }, async () => {
  const theirs = [0, 1].map(() => new IORedis(path, { protocol: 2 }));
  const ours = [fresh()];
  ours.push(ours[0].duplicate());
  try {
    for (const client of theirs) client.on("error", () => {});
    await theirs[0].ping();
    assert.deepEqual(sorted(await program(...ours)), sorted(await program(...theirs)));
  } finally {
    for (const client of [...theirs, ...ours]) client.disconnect();
  }
});

test("messages come in order, whoever publishes", async () => {
  const hears = fresh();
  const tells = hears.duplicate();
  const cache = new Cache({ name: `pubsub ${number}` });
  const got = [];
  await hears.subscribe("numbers");
  hears.on("message", (_, message) => got.push(Number(message)));
  for (let at = 0; at < 1000; at += 1) {
    if (at % 2 === 0) assert.equal(await tells.publish("numbers", at), 1);
    else assert.equal(cache.call("PUBLISH", "numbers", at), 1);
  }
  while (got.length < 1000) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(got, Array.from({ length: 1000 }, (_, at) => at));
  for (const client of [hears, tells]) client.disconnect();
  assert.deepEqual(cache.call("PUBSUB", "NUMSUB", "numbers"), ["numbers", 0]);
});

test("workers hear each other", async () => {
  const tells = fresh();
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { Redis } = require("keystead/ioredis");
    const redis = new Redis({ name: workerData });
    redis.on("message", (channel, message) => {
      parentPort.postMessage([channel, message]);
      if (message === "end") redis.disconnect();
    });
    redis.subscribe("jobs").then((count) => parentPort.postMessage(count));`;
  const worker = new Worker(code, { eval: true, workerData: `pubsub ${number}` });
  const messages = [];
  worker.on("message", (message) => messages.push(message));
  await once(worker, "message");
  for (const word of ["one", "two", "end"]) assert.equal(await tells.publish("jobs", word), 1);
  // Its subscription kept it alive, and nothing else.
  await once(worker, "exit");
  assert.deepEqual(messages, [1, ["jobs", "one"], ["jobs", "two"], ["jobs", "end"]]);
  assert.equal(await tells.publish("jobs", "nobody"), 0);
  tells.disconnect();
});

test("a client that is disconnected hears nothing more", async () => {
  const hears = fresh();
  const tells = hears.duplicate();
  const got = [];
  hears.on("message", (_, message) => got.push(message));
  await hears.subscribe("a");
  const unanswered = hears.subscribe("b");
  hears.disconnect();
  await assert.rejects(unanswered, { message: "Connection is closed." });
  assert.equal(await tells.publish("a", "x"), 0);
  await hears.connect();
  assert.equal(await hears.get("k"), null);
  assert.equal(await hears.set("k", "v"), "OK");
  assert.deepEqual(got, []);
  for (const client of [hears, tells]) client.disconnect();
});

test("errors, and calls that have nobody to hear", async () => {
  const redis = fresh();
  await assert.rejects(redis.call("subscribe"), { message: "ERR wrong number of arguments for 'subscribe' command" });
  assert.equal(redis.mode, "normal");
  assert.equal(await redis.unsubscribe(), 0);
  assert.equal(await redis.set("k", "v"), "OK");
  assert.throws(() => new Cache({ name: `pubsub ${number}` }).call("SUBSCRIBE", "a"), { code: "KS_ERR_USAGE" });
  redis.disconnect();
});

test("keyspace notifications", async () => {
  const hears = fresh();
  const tells = hears.duplicate();
  await tells.config("SET", "notify-keyspace-events", "KEA");
  const got = [];
  hears.on("pmessage", (_, channel, message) => got.push([channel, message]));
  await hears.psubscribe("__key*");
  await tells.set("k", "v");
  while (got.length < 2) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(got, [["__keyspace@0__:k", "set"], ["__keyevent@0__:set", "k"]]);
  for (const client of [hears, tells]) client.disconnect();
});

test("a process with a subscription lives until that ends", () => {
  const code = `
    import { Redis } from "keystead/ioredis";
    const hears = new Redis({ name: "alive" });
    const tells = hears.duplicate();
    hears.on("message", (_, message) => {
      console.log(message);
      hears.unsubscribe();
    });
    await hears.subscribe("a");
    setTimeout(() => tells.publish("a", "told"), 50).unref();
    await new Promise((resolve) => setTimeout(resolve, 100));
  `;
  assert.equal(execFileSync(process.execPath, ["--input-type=module", "--eval", code], { encoding: "utf8", timeout: 60_000 }), "told\n");
});
