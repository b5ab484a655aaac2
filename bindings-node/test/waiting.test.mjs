// Commands that wait, through ioredis's client: promises, the line behind them, and what ends them.
// Who is served, and in which order, is tested in the engine.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { Cache } from "keystead";
import { Redis } from "keystead/ioredis";

let number = 0;
const fresh = (options) => new Redis({ name: `waiting ${(number += 1)}`, ...options });

/** Whether a promise is settled after all that is due now has run. */
async function isSettled(promise) {
  let settled = false;
  const note = () => (settled = true);
  promise.then(note, note);
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

test("a command that waits has its reply when its time is over, and what comes after it stands in line", async () => {
  const redis = fresh();
  const order = [];
  const note = (name) => (reply) => order.push([name, reply]);
  const all = [
    redis.set("k", "before").then(note("set")),
    redis.wait(1, 30).then(note("wait")),
    redis.get("k").then(note("get")),
    redis.call("wait", 2, 20).then(note("again")),
    redis.set("k", "after").then(note("last")),
  ];
  const other = redis.duplicate();
  assert.equal(await other.get("k"), "before");
  await Promise.all(all);
  assert.deepEqual(order, [["set", "OK"], ["wait", 0], ["get", "before"], ["again", 0], ["last", "OK"]]);
  assert.equal(await redis.get("k"), "after");
  for (const client of [redis, other]) client.disconnect();
});

test("another client ends the wait", async () => {
  const redis = fresh();
  const other = redis.duplicate();
  const id = await redis.client("ID");
  const waits = redis.wait(1, 0);
  const behind = redis.getBuffer("k");
  assert.equal(await isSettled(waits), false);
  assert.equal(await other.set("k", "v"), "OK");
  assert.equal(await other.client("UNBLOCK", id), 1);
  assert.equal(await waits, 0);
  assert.deepEqual(await behind, Buffer.from("v"));
  const fails = redis.wait(1, 0);
  assert.equal(await other.client("UNBLOCK", id, "ERROR"), 1);
  await assert.rejects(fails, {
    name: "ReplyError",
    message: "UNBLOCKED client unblocked via CLIENT UNBLOCK",
    command: { name: "wait", args: ["1", "0"] },
  });
  assert.equal(await redis.ping(), "PONG");
  for (const client of [redis, other]) client.disconnect();
});

test("pipelines and transactions wait and stand in line", async () => {
  const redis = fresh();
  const pipeline = redis.pipeline().set("k", "1").wait(1, 20).incr("k").getBuffer("k").wait(1, 10).get("k").exec();
  const second = redis.pipeline().incr("k").exec();
  const transaction = redis.multi().incr("k").wait(1, 0).get("k").exec();
  const inBuffers = redis.pipeline().getBuffer("k").callBuffer("wait", 1, 10).callBuffer("get", "k").exec();
  const heavy = redis.pipeline().get("k", () => {}).wait(1, 10).exec();
  assert.deepEqual(await pipeline, [[null, "OK"], [null, 0], [null, 2], [null, Buffer.from("2")], [null, 0], [null, "2"]]);
  assert.deepEqual(await second, [[null, 3]]);
  // Within a transaction nothing waits.
  assert.deepEqual(await transaction, [[null, 4], [null, 0], [null, "4"]]);
  assert.deepEqual(await inBuffers, [[null, Buffer.from("4")], [null, 0], [null, Buffer.from("4")]]);
  assert.deepEqual(await heavy, [[null, "4"], [null, 0]]);
  const callback = await new Promise((resolve) => redis.wait(1, 10, (error, reply) => resolve([error, reply])));
  assert.deepEqual(callback, [null, 0]);
  redis.disconnect();
});

test("a long pipeline goes on where it waited", async () => {
  const redis = fresh();
  const pipeline = redis.pipeline();
  for (let at = 0; at < 300; at += 1) pipeline.append("k", "x");
  pipeline.wait(1, 10);
  for (let at = 0; at < 300; at += 1) pipeline.append("k", "x");
  const results = await pipeline.exec();
  const expected = Array.from({ length: 601 }, (_, at) => [null, at === 300 ? 0 : at < 300 ? at + 1 : at]);
  assert.deepEqual(results, expected);
  redis.disconnect();
});

test("a client that is disconnected waits no longer, nor does its line", async () => {
  const redis = fresh();
  const other = redis.duplicate();
  const id = await redis.client("ID");
  const all = [redis.wait(1, 0), redis.get("k"), redis.pipeline().get("k").exec(), redis.multi().get("k").exec()];
  redis.disconnect();
  const [waits, get, pipeline, transaction] = await Promise.allSettled(all);
  for (const { reason } of [waits, get, transaction]) assert.equal(reason.message, "Connection is closed.");
  assert.equal(pipeline.value[0][0].message, "Connection is closed.");
  assert.equal(await other.client("UNBLOCK", id), 0);
  await redis.connect();
  assert.equal(await redis.get("k"), null);
  for (const client of [redis, other]) client.disconnect();
});

test("QUIT in line ends what stands behind it", async () => {
  const redis = fresh();
  const all = [redis.wait(1, 10), redis.set("k", "v"), redis.quit(), redis.get("k")];
  const [waits, set, quit, get] = await Promise.allSettled(all);
  assert.deepEqual([waits.value, set.value, quit.value], [0, "OK", "OK"]);
  assert.equal(get.reason.message, "Connection is closed.");
});

test("the times that the options give are ioredis's", async () => {
  const redis = fresh({ commandTimeout: 20 });
  const other = redis.duplicate();
  const id = await redis.client("ID");
  const all = [redis.wait(1, 0), redis.get("k")];
  for (const { reason } of await Promise.allSettled(all)) assert.equal(reason.message, "Command timed out");
  assert.equal(await other.client("UNBLOCK", id), 1);
  assert.equal(await redis.ping(), "PONG");
  for (const client of [redis, other]) client.disconnect();
});

test("a worker ends the wait of another isolate", async () => {
  const redis = fresh();
  const waits = redis.wait(1, 0);
  const worker = new Worker(
    `const { Redis } = require("keystead/ioredis");
     const { parentPort, workerData: [name, id] } = require("node:worker_threads");
     const redis = new Redis({ name });
     redis.client("UNBLOCK", id).then((ended) => parentPort.postMessage(ended));`,
    { eval: true, workerData: [`waiting ${number}`, await redis.duplicate().client("LIST").then((list) => /id=(\d+) .*flags=b/.exec(list)[1])] },
  );
  assert.deepEqual(await once(worker, "message"), [1]);
  assert.equal(await waits, 0);
  await worker.terminate();
  redis.disconnect();
});

test("a worker that is ended while its client waits leaves nothing behind", async () => {
  const redis = fresh();
  const worker = new Worker(
    `const { Redis } = require("keystead/ioredis");
     const { parentPort, workerData } = require("node:worker_threads");
     const redis = new Redis({ name: workerData });
     redis.wait(1, 0);
     parentPort.on("message", () => {});
     parentPort.postMessage("waits");`,
    { eval: true, workerData: `waiting ${number}` },
  );
  await once(worker, "message");
  assert.match(await redis.client("LIST"), /flags=b/);
  await worker.terminate();
  assert.doesNotMatch(await redis.client("LIST"), /flags=b/);
  redis.disconnect();
});

test("elements come to who waits, in order, and none is lost with who goes", async () => {
  const first = fresh();
  const others = [first.duplicate(), first.duplicate(), first.duplicate()];
  const [later, leaver, pusher] = others;
  const replies = [first.blpop("a", "b", 0), later.brpopBuffer("b", 0)];
  const left = leaver.blpop("b", 0);
  assert.equal(await pusher.rpush("b", "1", "2", "3"), 3);
  leaver.disconnect();
  await assert.rejects(left, { message: "Connection is closed." });
  assert.deepEqual(await replies[0], ["b", "1"]);
  assert.deepEqual(await replies[1], [Buffer.from("b"), Buffer.from("3")]);
  // What was popped for who has gone was put back.
  assert.deepEqual(await pusher.lrange("b", 0, -1), ["2"]);
  assert.equal(await first.blpop("none", 0.01), null);
  assert.deepEqual(await first.blmove("b", "c", "LEFT", "RIGHT", 0), "2");
  assert.deepEqual(await first.bzpopmin("z", 0.01), null);
  await pusher.zadd("z", 1.5, "m");
  assert.deepEqual(await first.bzpopmin("z", 0), ["z", "m", "1.5"]);
  assert.throws(() => new Cache({ name: `waiting ${number}` }).call("BLPOP", "none", 0), { code: "KS_ERR_USAGE" });
  for (const client of [first, ...others]) client.disconnect();
});

test("Cache.call does not wait", () => {
  const cache = new Cache();
  assert.throws(() => cache.call("WAIT", 1, 0), { code: "KS_ERR_USAGE" });
  assert.equal(cache.call("PING"), "PONG");
  // But for what goes on all the same.
  cache.call("SET", "k", "v");
  assert.throws(() => cache.call("MIGRATE", "127.0.0.1", 0, "k", 0, 1000), /IOERR/);
  assert.equal(cache.call("GET", "k"), "v");
});

const script = (code) => execFileSync(process.execPath, ["--input-type=module", "--eval", code], { encoding: "utf8", timeout: 60_000 });

test("a wait for ever does not keep a finished process alive", () => {
  assert.equal(script(`
    import { Redis } from "keystead/ioredis";
    new Redis({ name: "ever" }).wait(1, 0).then(() => console.log("replied"));
    process.on("exit", () => console.log("exit"));
  `), "exit\n");
});

test("a wait that ends by itself does, and so does one that this isolate has just ended", () => {
  assert.equal(script(`
    import { Redis } from "keystead/ioredis";
    const redis = new Redis({ name: "own" });
    const other = redis.duplicate();
    console.log(await redis.wait(1, 20));
    const id = await redis.client("ID");
    for (let round = 0; round < 3; round += 1) {
      const waits = redis.wait(1, 0);
      other.client("UNBLOCK", id);
      console.log(await waits);
    }
    redis.wait(1, 0);
  `), "0\n0\n0\n0\n");
});
