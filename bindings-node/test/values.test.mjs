// What becomes of every kind of value: it comes back as it is, or is refused by a TypeError. None changes silently.
// Keys and methods are tested in cache.test.mjs, options in options.test.mjs.

import assert from "node:assert/strict";
import { test } from "node:test";
import vm from "node:vm";
import v8 from "node:v8";
import { Cache } from "keystead";

const refused = (error) => error instanceof TypeError && error.code === "KS_ERR_USAGE" && error.message.length > 10;

/** Stores a value in every way, and reads it in every way. */
async function roundTrips(cache, value) {
  const near = new Cache({ near: { max: 10, objects: true }, name: `near-${Math.random()}` });
  cache.set("k", value);
  near.set("k", value);
  cache.setMany({ a: value });
  const loaded = await cache.wrap("w", 5, () => value);
  const waited = new Cache();
  const [one, other] = await Promise.all([waited.wrap("w", 5, async () => value), waited.wrap("w", 5, async () => value)]);
  const results = [
    cache.get("k"), cache.get("a"), cache.get("w"), loaded, one, other, cache.getMany(["k"]).get("k"), near.get("k"), near.get("k"),
  ];
  cache.clear();
  near.close();
  return results;
}

const nest = (levels) => {
  let value = 1;
  for (let level = 0; level < levels; level += 1) value = level % 2 ? [value] : { v: value };
  return value;
};

test("values come back exactly", async () => {
  const cache = new Cache();
  const values = [
    0n, 5n, -5n, 9007199254740991n, -9007199254740991n, 9007199254740992n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 63n, 2n ** 64n, -(2n ** 80n), 10n ** 300n,
    NaN, Infinity, -Infinity, -0, 2 ** 53, 2 ** 60, -(2 ** 63), 1e20, 1e21, 5e-324, 1.7976931348623157e308,
    "", "-0", "5", "5n", "\0", "😀", "9".repeat(40),
    null, true, false, [], {}, [null], [[[]]], { a: -0, b: [1e20, -1e20, 2 ** 53, 1e21, 0.1] }, [-0], [2 ** 60, -(2 ** 55)],
    { s: "\ud800", t: "a\udc00", d: "12345678901234567890", q: "\"12345678901234567890", e: "\\" },
    JSON.parse('{"__proto__":{"polluted":1},"constructor":5,"toJSON":"text"}'), { "": 1, " ": 2, "1": 3 }, nest(1000),
    Array.from({ length: 2000 }, (_, at) => at),
  ];
  for (const value of values) {
    for (const found of await roundTrips(cache, value)) {
      assert.deepStrictEqual(found, value);
      assert.ok(typeof value === "object" || Object.is(found, value));
    }
  }
  assert.equal({}.polluted, undefined);
});

test("objects without a prototype, and plain ones of other realms, come back as plain ones", async () => {
  const cache = new Cache();
  const values = [
    [Object.assign(Object.create(null), { a: 1 }), { a: 1 }], [vm.runInNewContext("({ a: [1, { b: null }] })"), { a: [1, { b: null }] }],
    [vm.runInNewContext("[1, [2]]"), [1, [2]]], [new Proxy({ a: 1 }, {}), { a: 1 }], [{ get a() { return 7; } }, { a: 7 }],
  ];
  for (const [value, expected] of values) {
    for (const found of await roundTrips(cache, value)) assert.deepStrictEqual(found, expected);
  }
});

test("bytes come back as Buffers, of whatever realm and class they were", async () => {
  const cache = new Cache();
  class Bytes extends Uint8Array {}
  const shared = new Uint8Array(new SharedArrayBuffer(3));
  shared.set([1, 2, 3]);
  const values = [
    new Uint8Array([1, 2, 3]), Buffer.from([1, 2, 3]), Buffer.from([0, 1, 2, 3, 4]).subarray(1, 4), new Bytes([1, 2, 3]), shared,
    vm.runInNewContext("new Uint8Array([1, 2, 3])"),
  ];
  for (const value of values) {
    for (const found of await roundTrips(cache, value)) {
      assert.ok(Buffer.isBuffer(found));
      assert.deepStrictEqual([...found], [1, 2, 3]);
    }
  }
});

test("what JSON would change is refused, wherever it stands", async () => {
  class Thing {
    a = 1;
  }
  class List extends Array {}
  const circle = { a: [] };
  circle.a.push(circle);
  const ring = [];
  ring.push(ring);
  const extra = Object.assign([1, 2], { more: 3 });
  const alone = [
    new Map([[1, 2]]), new Map(), new Set([1]), new Date(0), /x/, new Error("x"), new URL("http://a/"), new Thing(), List.from([1]), extra,
    "a1".match(/1/), new WeakMap(), Promise.resolve(1), new String("s"), new Number(5), Object(true), Object(5n), Object(Symbol("s")),
    new Uint16Array(2), new Float64Array([1.5]), new BigInt64Array(1), new Uint8ClampedArray([1, 2]), new Int8Array(1), new DataView(new ArrayBuffer(2)),
    new ArrayBuffer(8), new SharedArrayBuffer(8), [1, , 3], new Array(3), circle, ring, nest(1001), v8.deserialize(v8.serialize(new Map())),
    vm.runInNewContext("new Map([[1, 2]])"), vm.runInNewContext("new Date(0)"), vm.runInNewContext("new Uint8ClampedArray(2)"),
    vm.runInNewContext("new Float64Array(2)"), { [Symbol("s")]: 1 }, { toJSON() { return 1; } }, (function () { return arguments; })(1), globalThis,
    (function* () {})(), new Proxy(new Date(0), {}), new (class extends Date {})(0), Object.create({ inherited: 1 }), Math, JSON,
  ];
  const within = [undefined, NaN, Infinity, -Infinity, 5n, 2n ** 70n, () => 1, Symbol("s"), Buffer.from("x"), new Uint8Array(1)];
  const all = [undefined, () => 1, class {}, Symbol("s"), ...alone];
  for (const value of [...within, ...alone]) all.push([value], { a: value }, { a: { b: [1, { c: value }] } });
  const cache = new Cache();
  cache.set("k", "before");
  for (const value of all) {
    assert.throws(() => cache.set("k", value), refused);
    assert.throws(() => cache.set("k", value, { ttl: 5 }), refused);
    assert.throws(() => cache.setMany([["k", 1], ["other", value]]), refused);
    // A loader may leave the key missing, and promise its value.
    if (value !== undefined && !(value instanceof Promise)) await assert.rejects(cache.wrap("w", 5, () => value), refused);
    assert.deepEqual([cache.get("k"), cache.has("other"), cache.has("w")], ["before", false, false]);
  }
  assert.throws(() => cache.set("k", "\ud800"), refused);
  assert.throws(() => cache.set("k", circle), /contains itself, or is nested deeper than 1000 levels/);
  assert.throws(() => cache.set("k", { user: { roles: new Set() } }), /a Set can't be stored as JSON \(at "roles"\)/);
  assert.throws(() => cache.set("k", { error: new RangeError("x") }), /a RangeError/);
  assert.throws(() => cache.set("k", [1, undefined]), /undefined, or a hole, within an array/);
});

test("errors of the value's own code are thrown as they are", () => {
  const cache = new Cache();
  const own = new Error("own");
  const fail = () => {
    throw own;
  };
  assert.throws(() => cache.set("k", { get a() { return fail(); } }), own);
  assert.throws(() => cache.set("k", new Proxy({ a: 1 }, { get: fail })), own);
  assert.throws(() => cache.set("k", new Proxy({ a: 1 }, { getPrototypeOf: fail })), own);
  assert.equal(cache.has("k"), false);
});

test("integers that other languages wrote in JSON come as BigInts where numbers can't hold them", () => {
  const cache = new Cache();
  const read = (json) => {
    cache.setString("k", Buffer.concat([Buffer.from([0xfc]), Buffer.from(json)]));
    const found = cache.get("k");
    assert.deepStrictEqual(cache.getMany(["k"]).get("k"), found);
    return found;
  };
  assert.deepStrictEqual(read("18446744073709551616"), 2n ** 64n);
  assert.deepStrictEqual(read("-18446744073709551616"), -(2n ** 64n));
  assert.deepStrictEqual(
    read('{"id": 9007199254740993, "s": "9007199254740993", "t": "\\"9007199254740993", "f": 9007199254740993.0, "e": 9007199254740993e0, "l": [-9007199254740993, 9007199254740991]}'),
    {
      id: 9007199254740993n, s: "9007199254740993", t: '"9007199254740993', f: 9007199254740992, e: 9007199254740992,
      l: [-9007199254740993n, 9007199254740991],
    },
  );
  assert.deepStrictEqual(read('{"1234567890123456789":"1234567890123456"}'), { "1234567890123456789": "1234567890123456" });
  assert.deepStrictEqual(read('["\\\\", 12345678901234567890]'), ["\\", 12345678901234567890n]);
  assert.throws(() => read('{"a": 12345678901234567890'), SyntaxError);
});

test("counters are numbers, and BigInts beyond them", () => {
  const cache = new Cache();
  cache.setString("n", "9007199254740991");
  assert.equal(cache.incr("n"), 9007199254740992n);
  assert.equal(cache.call("INCR", "n"), 9007199254740993n);
  assert.equal(cache.call("DECRBY", "n", "9007199254740992"), 1);
  cache.set("big", 5n);
  assert.throws(() => cache.incr("big"), { code: "KS_ERR_COMMAND" });
  assert.equal(cache.get("big"), 5n);
});

test("a codec's own values are its affair, and it must make bytes", () => {
  const codec = { name: "msgpack", encode: (value) => v8.serialize(value), decode: (bytes) => v8.deserialize(bytes) };
  const cache = new Cache({ codec });
  for (const value of [new Map([[1, new Set([2])]]), new Date(5), [1, undefined, -0, NaN], { a: undefined, b: 5n }]) {
    cache.set("k", value);
    assert.deepStrictEqual(cache.get("k"), value);
  }
  for (const made of ["text", undefined, [1], 5, new Uint8ClampedArray(1)]) {
    const wrong = new Cache({ codec: { ...codec, encode: () => made } });
    assert.throws(() => wrong.set("k", {}), refused);
  }
});
