// Values beyond what a string of Node can hold, alone or together.

import assert from "node:assert/strict";
import { constants } from "node:buffer";
import { test } from "node:test";
import { Cache } from "keystead";

const MEGABYTE = 2 ** 20;

test("what is too long for one string together is read one by one", () => {
  const cache = new Cache();
  const keys = ["a", "b", "c", "none", "d"];
  // Zeros, made by the engine.
  for (const key of ["a", "b", "c"]) cache.call("SETRANGE", key, 100 * MEGABYTE - 1, key);
  cache.set("d", { d: 1 });
  const lengths = (values) => values.map((value) => value?.length);
  const long = 100 * MEGABYTE;
  const values = cache.mget(keys);
  assert.deepEqual(lengths(values), [long, long, long, undefined, 8]);
  assert.ok(values[1].endsWith("\0b"));
  const many = cache.getMany(keys);
  assert.deepEqual([...many.keys()], ["a", "b", "c", "d"]);
  assert.deepEqual([...many.values()].map((value) => value.length ?? value), [long, long, long, { d: 1 }]);
  assert.deepEqual(lengths(cache.call("MGET", ...keys)), [long, long, long, undefined, 8]);
});

test("a value that no string can hold is told so, and its bytes can be read", () => {
  const cache = new Cache();
  const length = 512 * MEGABYTE;
  assert.ok(length > constants.MAX_STRING_LENGTH);
  cache.call("SETRANGE", "k", length - 1, "x");
  cache.call("HSET", "h", "f", "v");
  const told = (error) => error instanceof TypeError && error.code === "KS_ERR_USAGE" && /longer than a string/.test(error.message);
  assert.throws(() => cache.getString("k"), told);
  assert.throws(() => cache.get("k"), told);
  assert.throws(() => cache.getMany(["k"]), told);
  assert.throws(() => cache.mget(["k", "none"]), told);
  assert.throws(() => cache.call("GET", "k"), told);
  assert.throws(() => cache.call("MGET", "k"), told);
  const bytes = cache.getBuffer("k");
  assert.deepEqual([bytes.length, bytes[length - 1]], [length, 120]);
  // Nothing is left behind of it.
  assert.equal(cache.set("other", "v"), true);
  assert.equal(cache.get("other"), "v");
});
