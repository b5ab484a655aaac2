// Options that are wrong are refused by a TypeError that names them, before anything is done.
// What right ones do is tested in cache.test.mjs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Cache } from "keystead";

const refused = (error) => error instanceof TypeError && error.code === "KS_ERR_USAGE" && !/undefined|FATAL|line \d/.test(error.message);

test("options of a cache", () => {
  const wrong = [
    null, 5, "x", true, [], { nmae: "x" }, { Name: "x" }, { ttl: 5 }, { name: 5 }, { name: null }, { name: "\ud800" }, { path: 5 }, { path: null }, { path: "" },
    { path: "a\0b" }, { path: "\ud800" }, { path: new URL("http://localhost/a") }, { name: "x", path: "y" }, { prefix: 5 }, { prefix: null },
    { prefix: "\ud800" }, { codec: "x" }, { codec: null }, { codec: {} }, { codec: { name: "msgpack" } },
    { codec: { name: "msgpack", encode() {}, decode() {}, other: 1 } }, { maxmemory: -1 },
    { maxmemory: NaN }, { maxmemory: Infinity }, { maxmemory: 1.5 }, { maxmemory: 1e30 }, { maxmemory: {} }, { maxmemory: null }, { maxmemory: 5n },
    { config: 5 }, { config: null }, { config: ["hz 10"] }, { config: { hz: null } }, { config: { hz: {} } }, { config: { hz: NaN } },
    { config: { "hz\nrequirepass": "x" } }, { config: { hz: "10\nrequirepass x" } }, { config: { "": 1 } }, { near: 5 }, { near: null }, { near: true },
    { near: {} }, { near: { max: 0 } }, { near: { max: "5" } }, { near: { max: 1, objects: 1 } }, { near: { max: 1, size: 1 } },
  ];
  for (const options of wrong) assert.throws(() => new Cache(options), refused, inspect(options));
  // What a text says is the engine's to judge.
  for (const options of [{ config: "nonsense 1" }, { maxmemory: "x" }, { maxmemory: "" }, { maxmemory: "1.5gb" }]) {
    assert.throws(() => new Cache(options), { code: "KS_ERR_USAGE" }, inspect(options));
  }
  for (const options of [undefined, {}, { name: undefined }, { maxmemory: 2 ** 24 }, { maxmemory: "16MB" }, { config: { hz: 20, save: "", "maxmemory-policy": "noeviction" } }]) {
    new Cache(options).close();
  }
});

test("options of set", () => {
  const cache = new Cache();
  cache.set("k", "before");
  const wrong = [
    "60", true, false, "", 0, -1, NaN, Infinity, 1e300, 5n, [], [5], Symbol("s"), () => 1, { ttl: "60" }, { ttl: true }, { ttl: 0 }, { ttl: -5 }, { ttl: NaN },
    { ttl: Infinity }, { ttl: 5n }, { ttl: {} }, { ttl: new Date() }, { TTL: 60 }, { ex: 60 }, { expires: 60 }, { ttl: 60, extra: 1 }, { nx: 1 }, { nx: "yes" },
    { xx: null }, { keepTtl: 1 }, { keepttl: true }, { nx: true, xx: true }, { ttl: 60, keepTtl: true },
  ];
  for (const options of wrong) {
    for (const value of ["text", 5, 5n, { a: 1 }, Buffer.from("x")]) {
      assert.throws(() => cache.set("k", value, options), refused, inspect(options));
    }
    assert.equal(cache.get("k"), "before");
    assert.equal(cache.ttl("k"), null);
  }
  for (const options of [undefined, null, {}, { ttl: null }, { ttl: undefined, nx: false }, 0.0001, 1e9]) assert.equal(cache.set("k", 1, options), true);
  assert.ok(cache.ttl("k") > 9e8);
});

test("times to live and options elsewhere", async () => {
  const cache = new Cache();
  cache.set("k", 1);
  for (const ttl of ["60", true, -1, NaN, Infinity, 5n, [], { tll: 5 }, { ttl: "60" }, { ttl: 5, nx: true }]) {
    assert.throws(() => cache.setMany({ a: 1 }, ttl), refused);
    await assert.rejects(cache.wrap("w", ttl, () => 1), refused);
    await assert.rejects(cache.wrap("k", ttl, () => 1), refused, "also where the value is there");
    assert.throws(() => cache.setString("a", "x", ttl), refused);
    assert.throws(() => cache.touch("k", ttl), refused);
  }
  await assert.rejects(cache.wrap("k", 5), refused);
  await assert.rejects(cache.wrap("k", 5, "loader"), refused);
  assert.deepEqual([cache.has("a"), cache.has("w"), cache.ttl("k")], [false, false, null]);
  for (const entries of [null, undefined, 5, "ab", true, [["x"]], [["a", 1, 2]], ["ab"], [5], [null], new Set(["ab"])]) {
    assert.throws(() => cache.setMany(entries), refused, String(entries));
  }
  for (const keys of [null, undefined, 5, "ab", {}, true]) {
    assert.throws(() => cache.getMany(keys), refused);
    assert.throws(() => cache.mget(keys), refused);
  }
  for (const by of ["5", 5n, null, {}, true, 1.5, NaN, Infinity, 2 ** 53]) {
    assert.throws(() => cache.incr("n", by), refused);
    assert.throws(() => cache.decr("n", by), refused);
  }
  for (const prefix of [null, 5, Buffer.from("x"), "\ud800"]) assert.throws(() => cache.clear(prefix), refused);
  for (const key of [5, null, undefined, {}, "\ud800"]) assert.throws(() => cache.delete("k", key), refused);
  assert.deepEqual([cache.get("k"), cache.has("n")], [1, false]);
});
