// Loading through the Cache: once for many, rejections, what happens meanwhile.
// The verbs themselves are tested in cache.test.mjs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Cache } from "keystead";

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
  for (const meanwhile of [(c) => c.set("k", "new"), (c) => c.delete("k"), (c) => c.clear(), (c) => c.setMany({ k: "new" })]) {
    const cache = new Cache();
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
