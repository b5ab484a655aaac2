// The Cache: its verbs, types of values, keys that are easily confused, options, errors.
// Loading is tested in wrap.test.mjs, sharing in workers.test.mjs.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import vm from "node:vm";
import { Cache } from "keystead";

const code = (expected) => (error) => error instanceof Error && error.code === expected;

test("values come back with their types", () => {
  const cache = new Cache();
  const values = [
    "", "text", "42", "-1", "042", "-", "1.5", "größe", "\0nul\0", "\u{1f600}", "x".repeat(100_000), "ł".repeat(5000),
    0, 1, -1, 2 ** 31, -(2 ** 31) - 1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 1.5, -0, 1e300, NaN, Infinity,
    2n ** 63n - 1n, -(2n ** 63n), null, true, false, [], {}, [1, "2", null], { a: { b: [1.5] }, ł: "ó" },
    Buffer.alloc(0), Buffer.from("text"), Buffer.from("42"), Buffer.from([0, 1, 2]), Buffer.from([0xfb, 1]), Buffer.from([0xff]),
    Buffer.from([0x80, 0x00, 0xc3, 0x28]), Buffer.alloc(5000, 0xfe), Buffer.alloc(200_000, 7),
  ];
  for (const [at, value] of values.entries()) {
    assert.equal(cache.set(`k${at}`, value), true);
    const found = cache.get(`k${at}`);
    assert.deepEqual(found, value);
    if (typeof value === "number") assert.ok(Object.is(found, value), String(value));
  }
  const many = cache.getMany(values.map((_, at) => `k${at}`));
  assert.deepEqual([...many.values()], values);
  assert.deepEqual(cache.get(Buffer.from("k1")), "text");
  cache.set("u8", new Uint8Array([1, 255]));
  assert.deepEqual(cache.get("u8"), Buffer.from([1, 255]));
});

test("a key that is missing gives the fallback, and null is a value", () => {
  const cache = new Cache();
  assert.equal(cache.get("none"), undefined);
  assert.equal(cache.get("none", 7), 7);
  cache.set("null", null);
  assert.equal(cache.get("null", 7), null);
});

test("the stored bytes are those of every language's Cache", () => {
  const cache = new Cache();
  const stored = (value) => {
    cache.set("k", value);
    return cache.getBuffer("k");
  };
  const tagged = (tag, payload) => Buffer.concat([Buffer.from([tag]), Buffer.from(payload)]);
  const double = Buffer.alloc(8);
  double.writeDoubleLE(1.5);
  assert.deepEqual(stored("hello"), Buffer.from("hello"));
  assert.deepEqual(stored("größe"), Buffer.from("größe"));
  assert.deepEqual(stored("42"), tagged(0xf9, "42"));
  assert.deepEqual(stored(42), Buffer.from("42"));
  assert.deepEqual(stored(2n ** 63n - 1n), Buffer.from("9223372036854775807"));
  assert.deepEqual(stored(1.5), tagged(0xfb, double));
  assert.deepEqual(stored(Buffer.from("text")), tagged(0xfa, "text"));
  assert.deepEqual(stored(Buffer.from([0x80])), Buffer.from([0x80]));
  assert.deepEqual(stored(Buffer.from([0xff])), tagged(0xfa, [0xff]));
  assert.deepEqual(stored({ a: [1, null] }), tagged(0xfc, '{"a":[1,null]}'));
  assert.deepEqual(stored(true), tagged(0xfc, "true"));
});

test("what Python's Cache writes is read", () => {
  const cache = new Cache();
  const read = (...parts) => {
    cache.setString("k", Buffer.concat(parts.map((part) => Buffer.from(part))));
    return cache.get("k");
  };
  assert.equal(read("żółw"), "żółw");
  assert.equal(read("-7"), -7);
  assert.equal(read("007"), "007");
  assert.equal(read("9223372036854775807"), 9223372036854775807n);
  assert.equal(read([0xf9], "7"), "7");
  assert.deepEqual(read([0xfa], "7"), Buffer.from("7"));
  // json.dumps(..., separators=(",", ":")) with and without ensure_ascii.
  assert.deepEqual(read([0xfc], '{"a":"\\u017c","b":"ż","c":[1,2.5,null,true]}'), { a: "ż", b: "ż", c: [1, 2.5, null, true] });
  assert.throws(() => read([0xfe], "0123456789abcdef", "pickle"), code("KS_ERR_USAGE"));
  assert.throws(() => read([0xff]), code("KS_ERR_USAGE"));
  assert.throws(() => read([0xfb], "short"), code("KS_ERR_USAGE"));
});

test("Python and Node write the same bytes", () => {
  // Printed by keystead.Cache in Python: value, and what Store.get(key).hex() told.
  const written = [
    ["", ""], ["text", "74657874"], ["42", "f93432"], ["-1", "f92d31"], ["größe", "6772c3b6c39f65"],
    [0, "30"], [42, "3432"], [-7, "2d37"], [2n ** 63n - 1n, "39323233333732303336383534373735383037"],
    [1.5, "fb000000000000f83f"], [-0, "fb0000000000000080"],
    [Buffer.alloc(0), "fa"], [Buffer.from("text"), "fa74657874"], [Buffer.from([0xff, 0]), "faff00"], [Buffer.from([0x80]), "80"],
    [null, "fc6e756c6c"], [true, "fc74727565"], [[1, "2", null], "fc5b312c2232222c6e756c6c5d"],
    [{ a: { b: [1.5, "ż"] } }, "fc7b2261223a7b2262223a5b312e352c22c5bc225d7d7d"],
  ];
  const cache = new Cache();
  for (const [value, hex] of written) {
    cache.setString("python", Buffer.from(hex, "hex"));
    assert.deepEqual(cache.get("python"), value);
    cache.set("node", value);
    assert.equal(cache.getBuffer("node").toString("hex"), hex, String(value));
  }
  cache.set("huge", 2n ** 70n);
  assert.equal(cache.getBuffer("huge").toString("hex"), "fc31313830353931363230373137343131333033343234");
});

test("another codec is MessagePack's, behind its tag", () => {
  const codec = { name: "msgpack", encode: () => Buffer.from([0xc0]), decode: (bytes) => ({ decoded: [...bytes] }) };
  const cache = new Cache({ name: "codec", codec });
  cache.set("k", {});
  assert.deepEqual(cache.getBuffer("k"), Buffer.from([0xfd, 0xc0]));
  assert.deepEqual(cache.get("k"), { decoded: [0xc0] });
  assert.throws(() => new Cache({ name: "codec" }).get("k"), code("KS_ERR_USAGE"));
  assert.throws(() => new Cache({ codec: "yaml" }), code("KS_ERR_USAGE"));
});

test("keys that look alike are different keys", () => {
  const cache = new Cache();
  const base = "k".repeat(510);
  const keys = ["A", "Ł", "\u0141", "a\0b", "a", "", "é", "e\u0301", "\ufffd", "\u{10000}", base, base + "1", base + "12", base + "13"];
  const long = Array.from({ length: 40 }, (_, at) => "x".repeat(1000 + at));
  const all = [...new Set([...keys, ...long, "ł".repeat(511), "ł".repeat(512), "ł".repeat(4000)])];
  for (const key of all) cache.set(key, `value of ${all.indexOf(key)}`);
  assert.equal(cache.size, all.length);
  for (const key of all) assert.equal(cache.get(key), `value of ${all.indexOf(key)}`);
  assert.deepEqual([...cache.getMany(all).keys()], all);
  assert.deepEqual(cache.mget(all), all.map((_, at) => `value of ${at}`));
  assert.deepEqual(new Set(cache.keys()), new Set(all));
  assert.equal(cache.get(Buffer.from("Ł")), cache.get("Ł"));
});

test("a lone surrogate is refused, as key and as value", () => {
  const cache = new Cache();
  for (const bad of ["\ud800", "a\udc00", "\udc00\ud800", "x".repeat(600) + "\ud83d"]) {
    assert.throws(() => cache.get(bad), code("KS_ERR_USAGE"));
    assert.throws(() => cache.set(bad, 1), code("KS_ERR_USAGE"));
    assert.throws(() => cache.set("k", bad), code("KS_ERR_USAGE"));
    assert.throws(() => cache.mget(["a", bad]), code("KS_ERR_USAGE"));
  }
  assert.equal(cache.size, 0);
});

test("every key gets its prefix, whatever its class or realm", () => {
  const [all, tenant] = [new Cache({ name: "tenants" }), new Cache({ name: "tenants", prefix: "t:" })];
  all.set("admin", "of another");
  const bytes = Buffer.from("admin");
  const foreign = vm.runInNewContext("new Uint8Array([97, 100, 109, 105, 110])");
  const offset = Buffer.concat([Buffer.from("x"), bytes]).subarray(1);
  for (const key of [bytes, new Uint8Array(bytes), Uint8ClampedArray.from(bytes), foreign, offset]) {
    const calls = [(c) => c.get(key), (c) => c.getString(key), (c) => c.getBuffer(key), (c) => c.hget(key, "f"), (c) => c.ttl(key)];
    for (const call of calls) assert.equal(call(tenant), undefined);
    assert.deepEqual([tenant.has(key), tenant.delete(key), tenant.touch(key, 5), tenant.getMany([key]).size], [false, 0, false, 0]);
    assert.deepEqual(tenant.mget([key]), [undefined]);
    tenant.set(key, "ours");
    tenant.setString(key, "ours");
    tenant.setMany(new Map([[key, 1]]));
    assert.deepEqual([tenant.incr(key), tenant.decr(key), tenant.get("admin")], [2, 1, 1]);
    assert.deepEqual([...tenant.keys()], ["admin"]);
    assert.deepEqual([tenant.size, tenant.clear(), all.get("admin"), all.size], [1, 1, "of another", 1]);
  }
  all.call("SET", foreign, "through call");
  assert.equal(all.get("admin"), "through call");
  for (const key of [new Uint16Array(2), new DataView(new ArrayBuffer(4)), new ArrayBuffer(4), ["admin"], 5, null]) {
    for (const cache of [all, tenant]) assert.throws(() => cache.get(key), { code: "KS_ERR_USAGE" });
  }
});

test("keys that are not UTF-8 are listed as Buffers", () => {
  const cache = new Cache({ prefix: "p:" });
  cache.set(Buffer.from([0xff, 0]), 1);
  cache.set("\ufffd", 2);
  assert.deepEqual([...cache.keys()].sort(), ["\ufffd", Buffer.from([0xff, 0])].sort());
  assert.equal(cache.get(Buffer.from([0xff, 0])), 1);
});

test("conditions, times to live and counters", async () => {
  const cache = new Cache();
  assert.equal(cache.set("k", 1, { xx: true }), false);
  assert.equal(cache.set("k", 1, { nx: true, ttl: 100 }), true);
  assert.equal(cache.set("k", 2, { nx: true }), false);
  assert.equal(cache.set("k", 3, { keepTtl: true }), true);
  assert.ok(cache.ttl("k") > 99 && cache.ttl("k") <= 100);
  cache.set("k", 4);
  assert.equal(cache.ttl("k"), null);
  assert.equal(cache.ttl("none"), undefined);
  assert.equal(cache.touch("k", 50), true);
  assert.ok(cache.ttl("k") > 49);
  assert.equal(cache.touch("k"), true);
  assert.equal(cache.ttl("k"), null);
  assert.equal(cache.touch("none", 1), false);
  cache.set("soon", "x", 0.02);
  assert.equal(cache.get("soon"), "x");
  await sleep(40);
  assert.equal(cache.has("soon"), false);
  assert.equal(cache.incr("n"), 1);
  assert.equal(cache.incr("n", 10), 11);
  assert.equal(cache.decr("n", 12), -1);
  assert.equal(cache.get("n"), -1);
  cache.set("big", 2n ** 62n);
  assert.equal(cache.incr("big"), 2n ** 62n + 1n);
  for (const ttl of [0, -1, NaN, "1"]) assert.throws(() => cache.set("k", 1, { ttl }), code("KS_ERR_USAGE"));
  assert.throws(() => cache.set("k", 1, { nx: true, xx: true }), code("KS_ERR_USAGE"));
  assert.throws(() => cache.incr("n", 0.5), code("KS_ERR_USAGE"));
});

test("many at once, prefixes, clearing", () => {
  const name = "prefixes";
  const all = new Cache({ name });
  const users = new Cache({ name, prefix: "user[*]:" });
  users.setMany({ a: 1, b: "two", c: { three: 3 } });
  users.setMany(new Map([["d", Buffer.from([0xff])]]), 60);
  all.set("user*:x", "not theirs");
  assert.deepEqual(users.getMany(["a", "none", "c", "d"]), new Map([["a", 1], ["c", { three: 3 }], ["d", Buffer.from([0xff])]]));
  assert.ok(users.ttl("d") > 59);
  assert.equal(users.ttl("a"), null);
  assert.equal(all.get("user[*]:b"), "two");
  assert.deepEqual([users.size, all.size], [4, 5]);
  assert.equal(users.delete("a", "b", "none"), 2);
  users.set("page:1", 1);
  users.set("page:2", 2);
  assert.equal(users.clear("page:"), 2);
  assert.equal(users.clear(), 2);
  assert.deepEqual([...all.keys()], ["user*:x"]);
  for (let at = 0; at < 3000; at += 1) users.set(`k${at}`, at);
  assert.equal(users.clear(), 3000);
  assert.equal(all.clear(), 1);
});

test("results of every length, small ones from the slab, stay as they are", () => {
  const cache = new Cache();
  const made = [];
  for (let length = 0; length < 9000; length += 37) {
    const bytes = Buffer.alloc(length, length % 251);
    cache.setString(`b${length}`, bytes);
    made.push([bytes, cache.getBuffer(`b${length}`)]);
  }
  for (const [bytes, found] of made) assert.ok(bytes.equals(found));
  assert.equal(cache.getBuffer("none"), undefined);
  made[1][1].fill(0);
  assert.ok(cache.getBuffer("b37").equals(made[1][0]), "what a user writes to a result does not reach the cache");
});

test("raw methods and commands", () => {
  const cache = new Cache();
  cache.setString("s", "1");
  cache.setString("t", Buffer.from("é"), 60);
  assert.deepEqual([cache.getString("s"), cache.getString("t"), cache.getString("none")], ["1", "é", undefined]);
  assert.ok(cache.ttl("t") > 59);
  assert.equal(cache.call("HSET", "h", "f", "v", "g", 2), 2);
  assert.deepEqual([cache.hget("h", "f"), cache.hget("h", "none"), cache.hget("none", "f")], ["v", undefined, undefined]);
  assert.deepEqual(cache.mget(["s", "h", "none", "t"]), ["1", undefined, undefined, "é"]);
  assert.deepEqual(cache.mget(["s", Buffer.from("t")]), ["1", "é"]);
  assert.deepEqual(cache.mget([]), []);
  assert.deepEqual(cache.mget(new Set(["s", "t"])), ["1", "é"]);
  for (const wrong of [["s", 1], ["s", undefined]]) assert.throws(() => cache.mget(wrong), code("KS_ERR_USAGE"));
  for (const size of [127, 128, 129, 300]) {
    const keys = Array.from({ length: size }, (_, at) => (at % 3 === 0 ? Buffer.from(`many:${at}`) : `many:${at}`));
    keys.forEach((key, at) => at % 5 !== 0 && cache.setString(key, `v${at}`));
    assert.deepEqual(cache.mget(keys), keys.map((_, at) => (at % 5 === 0 ? undefined : `v${at}`)));
  }
  assert.deepEqual(cache.call("HGETALL", "h"), ["f", "v", "g", "2"]);
  const fields = Array.from({ length: 6000 }, (_, at) => [`f${at}`, at]).flat();
  assert.equal(cache.call("HSET", "many", ...fields), 6000);
});

test("errors carry the codes of the engine's table", () => {
  const cache = new Cache();
  cache.call("HSET", "h", "f", "v");
  cache.set("s", "text");
  assert.throws(() => cache.get("h"), { code: "KS_ERR_WRONGTYPE", message: /^WRONGTYPE / });
  assert.throws(() => cache.getBuffer("h"), code("KS_ERR_WRONGTYPE"));
  assert.throws(() => cache.hget("s", "f"), code("KS_ERR_WRONGTYPE"));
  assert.throws(() => cache.incr("s"), { code: "KS_ERR_COMMAND", message: "ERR value is not an integer or out of range" });
  assert.throws(() => cache.call("NOSUCH"), code("KS_ERR_COMMAND"));
  // The isolate's thread does not wait, and nobody would read what a monitor is shown.
  assert.throws(() => cache.call("WAIT", 1, 0), code("KS_ERR_USAGE"));
  assert.throws(() => cache.call("MONITOR"), code("KS_ERR_USAGE"));
  assert.equal(cache.call("WAIT", 0, 0), 0);
  for (const key of [1, null, undefined, {}, Symbol("s"), new Float64Array(1)]) {
    assert.throws(() => cache.get(key), code("KS_ERR_USAGE"));
    assert.throws(() => cache.delete(key), code("KS_ERR_USAGE"));
  }
  for (const value of [undefined, () => 1, Symbol("s")]) assert.throws(() => cache.set("k", value), code("KS_ERR_USAGE"));
  assert.throws(() => new Cache({ config: "no-such-option 1" }), code("KS_ERR_USAGE"));
  assert.throws(() => new Cache({ name: 1 }), code("KS_ERR_USAGE"));
  const small = new Cache({ maxmemory: 1_000_000, config: { "maxmemory-policy": "noeviction" } });
  assert.throws(() => {
    for (let at = 0; at < 100; at += 1) small.set(`k${at}`, "x".repeat(100_000));
  }, code("KS_ERR_OOM"));
});

test("a closed cache refuses, its handle's number is not taken for another's", () => {
  const cache = new Cache();
  cache.set("k", 1);
  assert.equal(cache.close(), true);
  assert.equal(cache.close(), false);
  const other = new Cache();
  other.set("k", 2);
  for (const call of [() => cache.get("k"), () => cache.set("k", 1), () => cache.size, () => cache.getMany(["k"]), () => cache.stats()]) {
    assert.throws(call, code("KS_ERR_CLOSED"));
  }
  assert.equal(other.get("k"), 2);
});

test("a name's data lasts until its last cache is closed", () => {
  const [a, b] = [new Cache({ name: "shared" }), new Cache({ name: "shared" })];
  a.set("k", "v");
  assert.equal(b.get("k"), "v");
  a.close();
  assert.equal(b.get("k"), "v");
  b.close();
  assert.equal(new Cache({ name: "shared" }).get("k"), undefined);
  assert.equal(new Cache().get("k"), undefined);
});

test("statistics count", () => {
  const cache = new Cache({ maxmemory: "10mb" });
  cache.set("k", 1);
  cache.get("k");
  cache.get("k");
  cache.get("k");
  cache.get("none");
  const { keys, hits, misses, hitRate, maxBytes, usedBytes } = cache.stats();
  assert.deepEqual({ keys, hits, misses, hitRate, maxBytes }, { keys: 1, hits: 3, misses: 1, hitRate: 0.75, maxBytes: 10 << 20 });
  assert.ok(usedBytes > 0);
});

test("many keys are read in batches, whatever letters they and their values have", () => {
  const cache = new Cache({ prefix: "é:" });
  const keys = Array.from({ length: 1000 }, (_, at) => (at % 7 === 0 ? `ключ${at}` : `key${at}`));
  const values = keys.map((_, at) => (at % 5 === 0 ? undefined : at % 11 === 0 ? `wert ${at} \u{1f600}` : `value ${at}`));
  values.forEach((value, at) => value !== undefined && cache.set(keys[at], value));
  assert.deepEqual(cache.mget(keys), values);
  assert.deepEqual([...cache.getMany(keys).values()], values.filter((value) => value !== undefined));
  assert.deepEqual(cache.mget([]), []);
  const long = ["x".repeat(50_000), "é".repeat(30_000), "short but above 13"];
  long.forEach((value, at) => cache.set(`long${at}`, value));
  assert.deepEqual(cache.mget(["long0", "long1", "none", "long2"]), [long[0], long[1], undefined, long[2]]);
  assert.deepEqual(cache.mget(new Set(["key1", "none"])), ["value 1", undefined]);
  assert.deepEqual(cache.mget(["key1", Buffer.from("key2")]), ["value 1", "value 2"]);
});

test("Buffers of every size are right, and stay so while others follow", () => {
  const cache = new Cache();
  const sizes = [0, 1, 7, 8, 100, 1024, 4095, 4096, 4097, 65_536, 70_000];
  const sent = sizes.map((size) => Buffer.alloc(size, size % 251));
  sent.forEach((bytes, at) => cache.setString(`b${at}`, bytes));
  const got = [];
  for (let round = 0; round < 50; round += 1) sizes.forEach((_, at) => got.push(cache.getBuffer(`b${at}`)));
  got.forEach((bytes, at) => assert.ok(bytes.equals(sent[at % sizes.length]), `size ${bytes.length}`));
  assert.equal(Object.getPrototypeOf(got[1]), Buffer.prototype);
  // Some versions of Node refuse to transfer what must stay, others copy it.
  const { port1 } = new MessageChannel();
  try {
    port1.postMessage(got[1], [got[1].buffer]);
  } catch (error) {
    assert.equal(error.name, "DataCloneError");
  }
  port1.close();
  assert.ok(got[1].equals(sent[1]) && cache.getBuffer("b1").equals(sent[1]));
});

test("CommonJS gives the same class", () => {
  const { Cache: Required } = createRequire(import.meta.url)("keystead");
  assert.equal(Required, Cache);
});

test("a panic becomes an error, and the next call works", () => {
  const require = createRequire(import.meta.url);
  const path = require.resolve("keystead").replace(/index\.cjs$/, "lib/native.cjs");
  const native = require(path);
  assert.throws(() => native.panicForTests(), { code: "KS_ERR_INTERNAL", message: /asked for/ });
  assert.equal(new Cache().set("k", 1), true);
});

test("arguments of the native functions are checked", () => {
  const require = createRequire(import.meta.url);
  const native = require(require.resolve("keystead").replace(/index\.cjs$/, "lib/native.cjs"));
  const handle = native.open(undefined, undefined);
  native.setRaw(handle, "k", "value");
  const small = new ArrayBuffer(3);
  assert.equal(native.getInto(handle, "k", small, 0), 5);
  assert.deepEqual(small, new ArrayBuffer(3), "what does not fit is not copied");
  for (const call of [
    () => native.getInto(handle, "k", small, 4),
    () => native.getInto(handle, "k", "no buffer", 0),
    () => native.getInto(handle, "k", Buffer.alloc(8), 0),
    () => native.getString(handle),
    () => native.getString(),
    () => native.getMany(handle, "abc", new Uint32Array([4, 0]), 1),
    () => native.getMany(handle, "abc", new Uint32Array([2, 0]), 1),
    () => native.getMany(handle, "abc", new Uint32Array([3, 0]), 2),
    () => native.getMany(handle, "abc", [1, 0], 1),
    () => native.executeList(handle, 0, "GET k"),
    () => native.executeMany(handle, 0, "GETk", new Uint32Array([2, 3, 1]), 2 ** 32 - 1),
    () => native.executeMany(handle, 0, "GETk", new Uint32Array([2, 3, 1]), 2),
    () => native.takeReply(handle, 0),
    () => native.onWake("no function"),
    () => native.setRaw(handle, "k", "v", 1, 7),
  ]) {
    assert.throws(call, code("KS_ERR_USAGE"));
  }
  for (const wrong of [-1, 2 ** 31, handle + (1 << 20), 999_999]) {
    assert.throws(() => native.getString(wrong, "k"), code("KS_ERR_CLOSED"));
  }
  assert.ok(native.execute(handle, 0) instanceof Error);
  native.close(handle);
});

test("options are refused in the caller's words, and a cache has a least memory", () => {
  const refused = (options, text) =>
    assert.throws(() => new Cache(options), (error) => error.code === "KS_ERR_USAGE" && error.message.includes(text) && !error.message.includes("line"));
  refused({ maxmemory: "abc" }, "the option 'maxmemory' can't be 'abc': argument must be a memory value");
  refused({ config: { databases: 0 } }, "the option 'databases' can't be '0'");
  refused({ config: { nonsense: true } }, "there is no option 'nonsense'");
  refused({ maxmemory: 4096 }, "at least 512kb");
  const cache = new Cache({ maxmemory: "1mb", config: { "maxmemory-policy": "allkeys-lru", activedefrag: false } });
  cache.set("kept", 1);
  assert.throws(() => cache.set("k", "v".repeat(2 ** 20)), { code: "KS_ERR_OOM", message: /larger than maxmemory/ });
  assert.throws(() => cache.setMany({ a: "v".repeat(600_000), b: "v".repeat(600_000) }), { code: "KS_ERR_OOM" });
  assert.equal(cache.get("kept"), 1);
  cache.close();
});
