// Loading through the Cache: once for many, rejections, what happens meanwhile, and that nobody waits in vain.
// The verbs themselves are tested in cache.test.mjs.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import vm from "node:vm";
import { Cache } from "keystead";

/** Runs a test that must end by itself, and not because those who wait lose their patience, which takes 2 seconds. */
const prompt = (name, body) =>
  test(name, async () => {
    const begun = performance.now();
    await body();
    assert.ok(performance.now() - begun < 1900);
  });

test("many callers, one load", async () => {
  const cache = new Cache({ prefix: "w:" });
  let loads = 0;
  const load = async (key) => {
    loads += 1;
    await sleep(5);
    return { key, loads };
  };
  const all = await Promise.all(Array.from({ length: 100 }, () => cache.wrap("k", 60, load)));
  assert.equal(loads, 1);
  for (const value of all) assert.deepEqual(value, { key: "k", loads: 1 });
  assert.deepEqual(await cache.wrap("k", 60, load), { key: "k", loads: 1 });
  assert.ok(cache.ttl("k") > 59);
  await cache.wrap("other", { ttl: 30 }, load);
  assert.equal(loads, 2);
  assert.ok(cache.ttl("other") > 29 && cache.ttl("other") <= 30);
  await cache.wrap("forever", null, () => "sync works too");
  assert.equal(cache.ttl("forever"), null);
});

test("a rejection reaches every caller and is not cached", async () => {
  const cache = new Cache();
  let loads = 0;
  const fail = () => {
    loads += 1;
    throw new Error("down");
  };
  const all = await Promise.allSettled(Array.from({ length: 10 }, () => cache.wrap("k", 60, fail)));
  assert.equal(loads, 1);
  for (const { status, reason } of all) assert.deepEqual([status, reason.message], ["rejected", "down"]);
  assert.equal(cache.has("k"), false);
  assert.equal(await cache.wrap("k", 60, () => "up"), "up");
});

test("undefined is not cached, null is", async () => {
  const cache = new Cache();
  assert.equal(await cache.wrap("u", 60, () => undefined), undefined);
  assert.equal(cache.has("u"), false);
  assert.equal(await cache.wrap("n", 60, () => null), null);
  assert.equal(await cache.wrap("n", 60, () => assert.fail("loaded twice")), null);
});

test("what is set, deleted or cleared during a load is not overwritten by it", async () => {
  for (const meanwhile of [(c) => c.set("k", "new"), (c) => c.delete("k"), (c) => c.clear(), (c) => c.setMany({ k: "new" }), (c) => c.delete(Buffer.from("k")),
    (c) => c.incr("k"), (c) => c.call("SET", "k", "new"), (c) => c.call("DEL", "k"), (c) => c.call("FLUSHALL"), (c) => c.setString("k", "new"),
    (c) => c.clear("k"), (c) => c.set(new Uint8Array([0x6b]), "new"), (c) => new Cache({ name: "meanwhile" }).set("k", "new")]) {
    const cache = new Cache({ name: "meanwhile" });
    cache.clear();
    const loading = cache.wrap("k", 60, () => sleep(10, "old"));
    await sleep(2);
    meanwhile(cache);
    const expected = cache.get("k");
    const second = cache.wrap("k", 60, () => sleep(1, "newer"));
    assert.equal(await loading, "old");
    assert.equal(await second, expected ?? "newer");
    assert.equal(cache.get("k"), expected ?? "newer");
  }
});

test("a value that can't be stored rejects, and the next load is free to run", async () => {
  const cache = new Cache();
  await assert.rejects(cache.wrap("k", 60, () => () => 1), { code: "KS_ERR_USAGE" });
  assert.equal(await cache.wrap("k", 60, () => 1), 1);
});

prompt("a loader may need its own key, through whatever cache", async () => {
  const [cache, other] = [new Cache({ name: "own key" }), new Cache({ name: "own key" })];
  assert.equal(await cache.wrap("k", 60, () => cache.wrap("k", 60, () => 5)), 5);
  assert.equal(await cache.wrap("l", 60, () => other.wrap(Buffer.from("l"), 60, () => 5)), 5);
  const deep = await cache.wrap("a", 60, async () => (await cache.wrap("b", 60, async () => (await cache.wrap("a", 60, () => 1)) + 1)) + 1);
  assert.deepEqual([deep, cache.get("a"), cache.get("b")], [3, 3, 2]);
  let loads = 0;
  const inner = async () => {
    loads += 1;
    return sleep(5, loads);
  };
  const sum = async () => (await Promise.all(Array.from({ length: 10 }, () => cache.wrap("fan", 60, inner)))).reduce((x, y) => x + y);
  assert.deepEqual([await cache.wrap("fan", 60, sum), loads, cache.get("fan")], [10, 1, 10]);
});

prompt("crossed loaders do not wait for each other, in one engine or two", async () => {
  const cache = new Cache();
  for (const other of [cache, new Cache()]) {
    const load = (from, key) => async () => {
      await sleep(10);
      return from.wrap(key, 60, () => 1);
    };
    assert.deepEqual(await Promise.all([cache.wrap("a", 60, load(other, "b")), other.wrap("b", 60, load(cache, "a"))]), [1, 1]);
    cache.clear();
  }
});

prompt("what a loader began may outlive it, and shares loads", async () => {
  const cache = new Cache();
  let loads = 0;
  let later;
  const background = async () => {
    await sleep(10);
    cache.delete("k");
    const load = async () => {
      loads += 1;
      return sleep(5, "again");
    };
    return Promise.all(Array.from({ length: 10 }, () => cache.wrap("k", 60, load)));
  };
  const first = await cache.wrap("k", 60, () => {
    later = background();
    return "first";
  });
  assert.equal(first, "first");
  assert.deepEqual([await later, loads], [Array(10).fill("again"), 1]);
});

prompt("whatever a loader throws ends its load", async () => {
  const cache = new Cache();
  const loaders = [
    () => { throw undefined; },
    async () => { throw null; },
    () => Promise.reject(new Error("x")),
    () => Symbol("x"),
    () => "\ud800",
    () => ({ get then() { throw new Error("then"); } }),
    async () => new Proxy({}, { get() { throw new Error("trap"); } }),
  ];
  for (const loader of loaders) {
    const all = await Promise.allSettled([cache.wrap("k", 60, loader), cache.wrap("k", 60, loader)]);
    assert.deepEqual(all.map(({ status }) => status), ["rejected", "rejected"]);
  }
  for (const loader of [5, null, undefined, {}]) await assert.rejects(cache.wrap("k", 60, loader), { code: "KS_ERR_USAGE" });
  for (const options of ["5", true, 5n, Symbol("x"), () => 1, 0, -1, NaN, { ttl: "x" }]) {
    await assert.rejects(cache.wrap("k", options, () => assert.fail("loaded")), { code: "KS_ERR_USAGE" });
  }
  assert.equal(await cache.wrap("k", 60, () => 1), 1);
});

test("waits have an end: one of those who wait loads for all", async () => {
  const cache = new Cache();
  let end;
  const first = cache.wrap("k", 60, () => new Promise((resolve) => (end = resolve)));
  let loads = 0;
  const begun = performance.now();
  const load = async () => {
    loads += 1;
    return sleep(5, "in time");
  };
  const all = await Promise.all(Array.from({ length: 10 }, () => cache.wrap("k", 60, load)));
  const taken = performance.now() - begun;
  assert.ok(taken > 1000 && taken < 4000, `${taken}`);
  assert.deepEqual([all, loads], [Array(10).fill("in time"), 1]);
  end("late");
  assert.deepEqual([await first, cache.get("k")], ["late", "in time"]);
});

prompt("keys are bytes", async () => {
  const cache = new Cache({ prefix: "p:" });
  const load = (value) => async () => sleep(5, value);
  const foreign = vm.runInNewContext("new Uint8Array([0x31, 0x2c, 0x32])");
  const clamped = Uint8ClampedArray.from([0x31, 0x2c, 0x32]);
  const keys = [Buffer.from([0xff]), Buffer.from([0xfe]), new Uint8Array([1, 2]), "1,2", Buffer.from("1,2"), foreign, clamped];
  const values = await Promise.all(keys.map((key, at) => cache.wrap(key, 60, load(at))));
  assert.deepEqual(values, [0, 1, 2, 3, 3, 3, 3]);
  assert.deepEqual(keys.map((key) => cache.get(key)), values);
});

test("the first caller gets what later ones will, each its own", async () => {
  const cache = new Cache();
  const made = () => sleep(5, { list: [null, 1] });
  const [first, second] = await Promise.all([cache.wrap("k", 60, made), cache.wrap("k", 60, made)]);
  assert.deepEqual(first, { list: [null, 1] });
  assert.deepEqual(second, first);
  assert.notEqual(second, first);
  assert.deepEqual(cache.get("k"), first);
  assert.deepEqual(await cache.wrap("b", 60, () => new Uint8Array([1, 0xff])), Buffer.from([1, 0xff]));
  assert.equal(await cache.wrap("n", 60, () => 2n ** 60n), 2n ** 60n);
});

prompt("closing ends the loads and the waits of a cache", async () => {
  const [cache, other, third] = Array.from({ length: 3 }, () => new Cache({ name: "closing" }));
  const slow = (value) => () => sleep(100, value);
  const loading = cache.wrap("k", 60, slow("closed"));
  const waiting = other.wrap("k", 60, slow("waiter"));
  const closed = third.wrap("k", 60, slow("never"));
  await sleep(5);
  third.close();
  await assert.rejects(closed, { code: "KS_ERR_CLOSED" });
  cache.close();
  assert.equal(await loading, "closed");
  assert.equal(await waiting, "waiter");
  assert.equal(other.get("k"), "waiter");
  await assert.rejects(cache.wrap("k", 60, () => 1), { code: "KS_ERR_CLOSED" });
});

test("a process does not live on for loads that never end", () => {
  const code = `
    const cache = new (require("keystead").Cache)();
    cache.wrap("k", 60, () => new Promise(() => {}));
    process.on("exit", () => console.log("ended"));`;
  assert.equal(execFileSync(process.execPath, ["-e", code], { timeout: 30_000 }).toString(), "ended\n");
});
