// The cache service and its monitor: times to live, sliding sessions, limits, patterns, endpoints.
// The database behind them is tested in database.test.mjs.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Cache } from "keystead";
import { CacheService, TTL } from "../cache-service.mjs";
import { startMonitor } from "../monitor.mjs";

let number = 0;
function fresh(options) {
  const name = `test ${(number += 1)}`;
  return [new CacheService({ name, ...options }), new Cache({ name })];
}

test("each kind lives as long as it should", () => {
  const [service, cache] = fresh();
  const property = { id: "prop_123", name: "Downtown Apartment", address: "123 Main St", rent: 1200 };
  service.cacheProperty("prop_123", property);
  service.cacheTenant("t", { name: "Tenant" });
  service.cacheInvoiceTemplate("i", { lines: [] });
  assert.deepEqual(service.getProperty("prop_123"), property);
  assert.equal(service.getProperty("none"), null);
  assert.deepEqual([service.getTenant("t"), service.getInvoiceTemplate("i")], [{ name: "Tenant" }, { lines: [] }]);
  for (const [key, seconds] of [["property:prop_123", 3600], ["tenant:t", 1800], ["invoice-template:i", 7200]]) {
    assert.ok(Math.abs(cache.ttl(key) - seconds) < 2, key);
  }
  service.cacheProperty("short", property, 10);
  assert.ok(cache.ttl("property:short") <= 10);
});

test("a session slides while it is read, and ends when it is not", async () => {
  const [service] = fresh();
  const session = { userId: "user_123", role: "landlord", permissions: ["read", "write"] };
  service.setSession("s", session, 0.1);
  for (let read = 0; read < 4; read += 1) {
    await sleep(50);
    assert.deepEqual(service.getSession("s"), session);
  }
  await sleep(150);
  assert.equal(service.getSession("s"), null);
  service.setSession("t", session);
  assert.deepEqual([service.endSession("t"), service.endSession("t"), service.getSession("t")], [true, false, null]);
});

test("ten messages per hour and number", () => {
  const [service, cache] = fresh();
  const allowed = Array.from({ length: 12 }, () => service.checkWhatsAppRateLimit("+1234567890"));
  assert.deepEqual(allowed, [...Array(10).fill(true), false, false]);
  assert.equal(service.checkWhatsAppRateLimit("+2"), true);
  assert.ok(Math.abs(cache.ttl("whatsapp:+1234567890") - 3600) < 2);
  const [first] = service.whatsAppRateLimits();
  assert.deepEqual([first.phone, first.count, first.remaining], ["+1234567890", 12, 0]);
});

test("limits per endpoint are configurable", async () => {
  const [service] = fresh({ apiLimits: { "/search": { limit: 2, window: 1 } } });
  const ask = () => service.checkApiRateLimit("/search", "client");
  assert.deepEqual([ask(), ask(), ask()], [true, true, false]);
  assert.equal(service.checkApiRateLimit("/search", "another"), true);
  assert.equal(service.checkApiRateLimit("/other", "client"), true);
  await sleep(1050);
  assert.equal(ask(), true);
});

test("loading is shared", async () => {
  const [service, cache] = fresh();
  let loads = 0;
  const load = async (id) => ({ id, loads: (loads += 1) });
  const all = await Promise.all(Array.from({ length: 20 }, () => service.load("property", 7, load)));
  assert.deepEqual([loads, all[19], service.getProperty(7)], [1, { id: 7, loads: 1 }, { id: 7, loads: 1 }]);
  assert.ok(cache.ttl("property:7") > TTL.property - 2);
});

test("the settings of valkey.conf hold, and tuning is validated", () => {
  const [service, cache] = fresh();
  assert.deepEqual(cache.call("CONFIG", "GET", "maxmemory"), ["maxmemory", String(128 << 20)]);
  assert.equal(service.tune()["maxmemory-policy"], "allkeys-lru");
  assert.equal(service.tune({ "slowlog-max-len": "64" })["slowlog-max-len"], "64");
  assert.throws(() => service.tune({ "maxmemory-policy": "nonsense" }), { code: "KS_ERR_COMMAND" });
});

test("the monitor's endpoints", async () => {
  const [service] = fresh();
  const server = await startMonitor(service, 0);
  after(() => server.close());
  assert.equal(server.address().address, "127.0.0.1");
  const ask = async (path, method = "GET") => {
    const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { method });
    return [response.status, await response.json()];
  };
  service.cacheProperty("a", { rent: 1 });
  service.cacheProperty("b", { rent: 2 });
  service.setSession("s", {});
  service.checkWhatsAppRateLimit("+1");
  service.getProperty("a");
  service.getProperty("none");
  const [status, health] = await ask("/health");
  assert.deepEqual([status, health.status], [200, "healthy"]);
  const [, stats] = await ask("/valkey/stats");
  assert.deepEqual([stats.hits >= 1, stats.misses >= 1, stats.keys], [true, true, 4]);
  assert.ok(stats.memory.usedBytes > 0 && stats.memory.peakBytes >= stats.memory.usedBytes);
  assert.deepEqual([stats.keysByPattern["property:*"], stats.keysByPattern["session:*"]], [2, 1]);
  assert.ok(stats.connections >= 1 && stats.commandsProcessed >= 1);
  const [, { count, properties }] = await ask("/cache/properties");
  assert.deepEqual([count, properties.map(({ property }) => property.rent)], [2, [1, 2]]);
  const [, { limits }] = await ask("/whatsapp/rate-limits");
  assert.deepEqual([limits[0].phone, limits[0].remaining], ["+1", 9]);
  assert.deepEqual(await ask("/cache/*:a", "DELETE"), [200, { pattern: "*:a", deleted: 1 }]);
  assert.deepEqual(await ask("/cache/property", "DELETE"), [200, { pattern: "property", deleted: 1 }]);
  assert.deepEqual(await ask("/cache/session", "DELETE"), [200, { pattern: "session", deleted: 1 }]);
  assert.equal((await ask("/nothing"))[0], 404);
  assert.equal((await ask("/cache/%zz", "DELETE"))[0], 400);
});
