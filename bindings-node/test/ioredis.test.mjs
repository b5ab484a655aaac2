// ioredis's client on the engine: methods, Buffers, pipelines, transactions, streams, events, errors.
// What the commands themselves answer is for the compat scripts in tests/.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import { test } from "node:test";
import IORedis from "ioredis";
import { Cache } from "keystead";
import Default, { Redis, ReplyError } from "keystead/ioredis";

let number = 0;
const fresh = (options) => new Redis({ name: `ioredis ${(number += 1)}`, ...options });

test("it is ioredis, by each entry", () => {
  assert.equal(Default, Redis);
  assert.equal(createRequire(import.meta.url)("keystead/ioredis").Redis, Redis);
  const redis = fresh();
  assert.ok(redis instanceof IORedis);
  redis.disconnect();
});

test("strings, hashes and Buffers, through short cuts and without", async () => {
  const redis = fresh();
  assert.equal(await redis.set("k", "żółć"), "OK");
  assert.equal(await redis.get("k"), "żółć");
  assert.deepEqual(await redis.getBuffer("k"), Buffer.from("żółć"));
  assert.equal(await redis.set("k", Buffer.from([0, 255]), "EX", 100, "XX"), "OK");
  assert.deepEqual(await redis.getBuffer(Buffer.from("k")), Buffer.from([0, 255]));
  assert.equal(await redis.set("k", "v", "NX"), null);
  assert.equal(await redis.get("none"), null);
  assert.equal(await redis.getBuffer("none"), null);
  assert.equal(await redis.set("n", 41), "OK");
  assert.equal(await redis.incr("n"), 42);
  assert.equal(await redis.incrbyfloat("n", 0.5), "42.5");
  assert.equal(await redis.hset("h", { a: 1, b: "two" }), 2);
  assert.equal(await redis.hset("h", new Map([["c", "3"]])), 1);
  assert.deepEqual(await redis.hgetall("h"), { a: "1", b: "two", c: "3" });
  assert.deepEqual(await redis.hgetallBuffer("h"), { a: Buffer.from("1"), b: Buffer.from("two"), c: Buffer.from("3") });
  assert.deepEqual(await redis.hmget("h", "a", "x"), ["1", null]);
  assert.deepEqual([await redis.hget("h", "a"), await redis.hget("h", "x")], ["1", null]);
  assert.equal(await redis.mset({ x: 1, y: "2" }), "OK");
  assert.deepEqual(await redis.mget("x", "y", "z"), ["1", "2", null]);
  assert.deepEqual(await redis.mgetBuffer(["x", "z"]), [Buffer.from("1"), null]);
  assert.equal(await redis.del("x", "y", "none"), 2);
  assert.equal(await redis.call("set", "c", "d"), "OK");
  assert.deepEqual(await redis.callBuffer("get", "c"), Buffer.from("d"));
  assert.match(await redis.info("server"), /redis_version:/);
  assert.equal(await redis.ping(), "PONG");
  const keys = Array.from({ length: 5000 }, (_, at) => `many${at}`);
  assert.equal((await redis.mget(keys)).length, 5000);
  redis.disconnect();
});

test("the hot reads agree with the same commands the long way", async () => {
  const redis = fresh({ keyPrefix: "p:" });
  const plain = redis.duplicate({ keyPrefix: "" });
  for (const value of ["", "a", "\0", "é", "\u{1f600}", "x".repeat(10_000), "12"]) {
    await redis.set("k", value);
    assert.equal(await redis.get("k"), await plain.call("GET", "p:k"));
    assert.deepEqual(await redis.getBuffer("k"), await plain.callBuffer("GET", "p:k"));
    await redis.hset("h", "f", value);
    assert.equal(await redis.hget("h", "f"), await plain.call("HGET", "p:h", "f"));
  }
  assert.deepEqual((await plain.keys("*")).sort(), ["p:h", "p:k"]);
  for (const client of [redis, plain]) client.disconnect();
});

test("callbacks", async () => {
  const redis = fresh();
  const called = (start) => new Promise((resolve) => start((error, reply) => resolve([error, reply])));
  assert.deepEqual(await called((done) => redis.set("k", "v", done)), [null, "OK"]);
  assert.deepEqual(await called((done) => redis.get("k", done)), [null, "v"]);
  const [error] = await called((done) => redis.incr("k", done));
  assert.equal(error.name, "ReplyError");
  redis.disconnect();
});

test("errors are ReplyErrors with command and code", async () => {
  const redis = fresh();
  await redis.set("k", "v");
  await redis.hset("h", "f", "v");
  for (const [call, code, name] of [
    [() => redis.incr("k"), "KS_ERR_COMMAND", "incr"],
    [() => redis.get("h"), "KS_ERR_WRONGTYPE", "get"],
    [() => redis.getBuffer("h"), "KS_ERR_WRONGTYPE", "get"],
    [() => redis.hget("k", "f"), "KS_ERR_WRONGTYPE", "hget"],
    [() => redis.hgetall("k"), "KS_ERR_WRONGTYPE", "hgetall"],
    [() => redis.call("NOSUCH", "k"), "KS_ERR_COMMAND", "NOSUCH"],
  ]) {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof ReplyError);
      assert.deepEqual([error.name, error.code, error.command.name], ["ReplyError", code, name]);
      return true;
    });
  }
  await assert.rejects(redis.get("\ud800"), { code: "KS_ERR_USAGE" });
  redis.disconnect();
});

test("pipelines answer in pairs", async () => {
  const redis = fresh({ keyPrefix: "p:" });
  const results = await redis.pipeline().set("k", "v").get("k").incr("k").hset("h", { a: 1 }).hgetall("h").getBuffer("k").exec();
  assert.deepEqual(results.map(([error]) => error?.message ?? null), [
    null, null, "ERR value is not an integer or out of range", null, null, null,
  ]);
  assert.deepEqual(results.map(([, reply]) => reply), ["OK", "v", undefined, 1, { a: "1" }, Buffer.from("v")]);
  assert.deepEqual(await redis.pipeline([["set", "a", "1"], ["get", "a"]]).exec(), [[null, "OK"], [null, "1"]]);
  assert.deepEqual(await redis.pipeline().exec(), []);
  redis.disconnect();
});

test("pipelines by words, by typed calls and by both, however long", async () => {
  const redis = fresh();
  const [pipeline, expected] = [redis.pipeline(), []];
  for (let at = 0; at < 1000; at += 1) {
    pipeline.append(`k${at % 10}`, "é".repeat(at % 3)).strlen(`k${at % 10}`).get(`k${at % 10}`);
    const text = (expected[3 * (at - 10) + 2] ?? "") + "é".repeat(at % 3);
    expected.push(Buffer.byteLength(text), Buffer.byteLength(text), text);
  }
  assert.equal(pipeline.length, 3000);
  assert.deepEqual(await pipeline.exec(), expected.map((reply) => [null, reply]));
  const big = redis.pipeline().mset({ big: "x".repeat(100_000), n: String(2 ** 40) });
  big.hset("h", Object.fromEntries(Array.from({ length: 3000 }, (_, at) => [`f${at}`, at]))).hkeys("h").incr("n").getrange("big", 0, -1);
  const replies = (await big.exec()).map(([error, reply]) => error ?? reply);
  assert.deepEqual(replies.map((reply) => reply.length ?? reply), [2, 3000, 3000, 2 ** 40 + 1, 100_000]);
  assert.equal(Object.keys(await redis.hgetall("h")).length, 3000);
  redis.disconnect();
});

test("a word without a UTF-8 form fails alone in a pipeline, and a transaction as a whole", async () => {
  const redis = fresh();
  const results = await redis.pipeline().append("k", "a").append("k", "\ud800").append("k", "b").get("k").exec();
  assert.deepEqual(results.map(([error, reply]) => error?.code ?? reply), [1, "KS_ERR_USAGE", 2, "ab"]);
  await assert.rejects(redis.multi().append("k", "c").append("k", "\ud800").exec(), { code: "KS_ERR_USAGE" });
  assert.equal(await redis.get("k"), "ab");
  redis.disconnect();
});

test("pipelines within a manual transaction are queued with it; an own sendCommand sees every command", async () => {
  const redis = fresh();
  await redis.multi({ pipeline: false });
  assert.deepEqual(await redis.pipeline().set("k", "v").get("k").mget("k", "none").exec(), [[null, "QUEUED"], [null, "QUEUED"], [null, "QUEUED"]]);
  assert.deepEqual(await redis.exec(), [[null, "OK"], [null, "v"], [null, ["v", null]]]);
  redis.disconnect();
  class Watching extends Redis {
    sendCommand(command, ...rest) {
      (this.seen ??= []).push(command.name);
      return super.sendCommand(command, ...rest);
    }
  }
  const watching = new Watching({ name: `watching ${(number += 1)}` });
  await watching.set("k", "v");
  await watching.pipeline().get("k").strlen("k").exec();
  await watching.multi().get("k").exec();
  assert.deepEqual(watching.seen, ["set", "get", "strlen", "multi", "get", "exec"]);
  watching.disconnect();
  await assert.rejects(watching.multi().get("k").exec(), { message: "Connection is closed." });
  const closed = fresh();
  closed.disconnect();
  assert.deepEqual((await closed.pipeline().get("k").strlen("k").exec()).map(([error]) => error.message), Array(2).fill("Connection is closed."));
  await assert.rejects(closed.multi().get("k").exec(), { message: "Connection is closed." });
});

test("transactions: all or nothing, pairs, WATCH, and the short cuts stay out of them", async () => {
  const [redis, other] = [fresh(), new Redis({ name: `ioredis ${number}` })];
  assert.deepEqual(await redis.multi().set("k", "1").incr("k").hset("h", { a: 1 }).hgetall("h").exec(), [
    [null, "OK"], [null, 2], [null, 1], [null, { a: "1" }],
  ]);
  const failed = await redis.multi().set("k", "text").incr("k").get("k").exec();
  assert.deepEqual([failed[0], failed[2]], [[null, "OK"], [null, "text"]]);
  assert.ok(failed[1][0] instanceof ReplyError);
  await assert.rejects(redis.multi().set("k").exec(), { message: /^EXECABORT/ });

  await redis.watch("k");
  await other.set("k", "changed");
  assert.equal(await redis.multi().set("k", "mine").exec(), null);
  assert.equal(await redis.get("k"), "changed");

  await redis.multi({ pipeline: false });
  assert.equal(await redis.set("k", "queued"), "QUEUED");
  assert.equal(await redis.get("k"), "QUEUED");
  assert.equal(await redis.hget("h", "a"), "QUEUED");
  assert.equal(await other.get("k"), "changed");
  assert.deepEqual(await redis.exec(), [[null, "OK"], [null, "queued"], [null, "1"]]);
  await redis.multi({ pipeline: false });
  await redis.set("k", "discarded");
  assert.equal(await redis.discard(), "OK");
  assert.equal(await redis.get("k"), "queued");
  for (const client of [redis, other]) client.disconnect();
});

test("scan streams", async () => {
  const redis = fresh();
  const wanted = Array.from({ length: 500 }, (_, at) => `user:${at}`);
  await redis.mset(Object.fromEntries(wanted.map((key) => [key, "1"])));
  await redis.set("other", "1");
  const seen = new Set();
  for await (const keys of redis.scanStream({ match: "user:*", count: 50 })) for (const key of keys) seen.add(key);
  assert.deepEqual([...seen].sort(), wanted.sort());
  await redis.hset("h", { a: 1, b: 2 });
  const fields = [];
  for await (const page of redis.hscanStream("h")) fields.push(...page);
  assert.deepEqual(fields.sort(), ["1", "2", "a", "b"]);
  redis.disconnect();
});

test("databases", async () => {
  const redis = fresh();
  const second = redis.duplicate({ db: 2 });
  await second.set("k", "in 2");
  assert.equal(await redis.get("k"), null);
  await redis.select(2);
  assert.equal(await redis.get("k"), "in 2");
  assert.equal(await redis.set("k", "from the other"), "OK");
  assert.equal(await second.get("k"), "from the other");
  await redis.multi().select(3).set("k", "in 3").exec();
  assert.equal(await redis.get("k"), "in 3");
  await assert.rejects(redis.select(99), { message: "ERR DB index is out of range" });
  for (const client of [redis, second]) client.disconnect();
});

test("clients share by name or address, and with caches", async () => {
  const [a, b] = [new Redis(7001, "somewhere"), new Redis({ port: 7001, host: "somewhere" })];
  const other = new Redis(7002, "somewhere");
  await a.set("k", "shared");
  assert.deepEqual([await b.get("k"), await other.get("k")], ["shared", null]);
  await a.quit();
  await b.quit();
  const again = new Redis(7001, "somewhere");
  assert.equal(await again.get("k"), "shared", "as on a server, data outlives connections");
  const cache = new Cache({ name: "both faces" });
  const redis = new Redis({ name: "both faces" });
  cache.set("k", { a: 1 });
  cache.set("t", "text");
  assert.equal(await redis.get("t"), "text");
  await redis.set("n", 7);
  assert.equal(cache.get("n"), 7);
  for (const client of [other, again, redis]) client.disconnect();
});

test("events and states", async () => {
  const redis = fresh();
  const seen = [];
  for (const event of ["connecting", "connect", "ready", "close", "end"]) redis.on(event, () => seen.push(event));
  await once(redis, "ready");
  assert.equal(redis.status, "ready");
  await assert.rejects(redis.connect(), /already/);
  const ended = once(redis, "end");
  assert.equal(await redis.quit(), "OK");
  await ended;
  assert.deepEqual(seen, ["connecting", "connect", "ready", "close", "end"]);
  for (const call of [() => redis.get("k"), () => redis.set("k", "v"), () => redis.hgetall("k")]) {
    await assert.rejects(call, { message: "Connection is closed." });
  }
  await redis.connect();
  assert.equal(await redis.ping(), "PONG");
  redis.disconnect();

  const lazy = fresh({ lazyConnect: true });
  assert.equal(lazy.status, "wait");
  assert.equal(await lazy.get("k"), null);
  assert.equal(lazy.status, "ready");
  assert.equal(lazy.duplicate().options.lazyConnect, true);
  lazy.disconnect();
});

test("further options: numbers as strings, automatic pipelines, names", async () => {
  const redis = fresh({ stringNumbers: true, enableAutoPipelining: true, connectionName: "me" });
  assert.equal(await redis.incr("n"), "1");
  assert.deepEqual(await Promise.all([redis.set("a", "1"), redis.get("a"), redis.hgetall("h")]), ["OK", "1", {}]);
  assert.equal(await redis.client("GETNAME"), "me");
  redis.disconnect();
});

test("what an embedded engine has not is refused plainly", async () => {
  for (const options of [{ sentinels: [{}], name: "x" }, { replyMapping: "resp3", protocol: 3 }]) {
    assert.throws(() => new Redis(options), { code: "KS_ERR_USAGE" });
  }
  const redis = fresh();
  await assert.rejects(redis.monitor(), { code: "KS_ERR_USAGE" });
  const broken = new Redis({ name: "broken", config: "nonsense yes" });
  const [error] = await once(broken, "error");
  assert.equal(error.code, "KS_ERR_USAGE");
  await assert.rejects(broken.get("k"), { message: "Connection is closed." });
  redis.disconnect();
});

test("commands of defineCommand load their scripts, in pipelines and transactions, and anew when they were forgotten", async () => {
  const redis = new Redis({ name: "defined scripts", scripts: { addUp: { numberOfKeys: 1, lua: "return redis.call('incrby', KEYS[1], ARGV[1])" } } });
  redis.defineCommand("bytes", { numberOfKeys: 0, lua: "return ARGV[1]" });
  // Nobody has loaded them yet: a transaction can't try again.
  assert.deepEqual(await redis.multi().addUp("n", 1).get("n").exec(), [[null, 1], [null, "1"]]);
  assert.equal(await redis.script("FLUSH"), "OK");
  assert.equal(await redis.addUp("n", 2), 3);
  assert.equal(await redis.addUp("n", 2), 5);
  assert.equal(await redis.script("FLUSH"), "OK");
  assert.deepEqual(await redis.pipeline().addUp("n", 1).addUp("n", 1).exec(), [[null, 6], [null, 7]]);
  assert.equal(await redis.script("FLUSH"), "OK");
  assert.deepEqual(await redis.multi().addUp("n", 1).addUp("n", 1).exec(), [[null, 8], [null, 9]]);
  assert.deepEqual(await redis.bytesBuffer(Buffer.from([0, 255])), Buffer.from([0, 255]));
  await redis.set("n", "x");
  await assert.rejects(redis.addUp("n", 1), { name: "ReplyError", message: /not an integer/ });
  redis.disconnect();
});
