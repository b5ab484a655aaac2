// Listeners of an engine, and `keystead serve`: clients over sockets, and what keeps the process alive.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import IORedis from "ioredis";
import { Cache } from "keystead";

const program = join(dirname(createRequire(import.meta.url).resolve("keystead")), "bin/keystead.cjs");

/** The port of an address. */
const portOf = (address) => Number(address.slice(address.lastIndexOf(":") + 1));

test("clients over a socket have the cache's engine", async () => {
  const cache = new Cache({ name: "listener" });
  const listener = await cache.listen("127.0.0.1:0");
  assert.equal(listener.addresses.length, 1);
  assert.match(listener.addresses[0], /^127\.0\.0\.1:[1-9]\d*$/);
  const redis = new IORedis(portOf(listener.addresses[0]), "127.0.0.1");
  await redis.set("k", "größe");
  assert.equal(cache.getString("k"), "größe");
  assert.equal(await redis.dbsize(), 1);
  const waits = redis.blpop("jobs", 0);
  cache.call("RPUSH", "jobs", "a");
  assert.deepEqual(await waits, ["jobs", "a"]);
  await listener.close();
  assert.deepEqual(listener.addresses, []);
  await listener.close();
  // Connections that are open go on.
  assert.equal(await redis.get("k"), "größe");
  redis.disconnect();
  await assert.rejects(cache.listen("127.0.0.1"), (error) => error.code.startsWith("KS_ERR_"));
  cache.close();
});

test("an address that can't be had is an error, and so is a cache that is closed", async () => {
  const cache = new Cache();
  const listener = await cache.listen("127.0.0.1:0");
  await assert.rejects(cache.listen(listener.addresses[0]), { code: "KS_ERR_IO", message: /Could not create server TCP listening socket/ });
  await assert.rejects(cache.listen(6379), { name: "TypeError", code: "KS_ERR_USAGE" });
  await listener.close();
  cache.close();
  await assert.rejects(cache.listen("127.0.0.1:0"), { code: "KS_ERR_CLOSED" });
});

test("a listener keeps the process alive until it is closed, or was told not to", async () => {
  const script = (rest) => `import { Cache } from "keystead"; const listener = await new Cache().listen("127.0.0.1:0"); console.log("listens"); ${rest}`;
  const run = (rest) => execFileSync(process.execPath, ["--input-type=module", "-e", script(rest)], { encoding: "utf8", timeout: 60_000 });
  assert.equal(run("listener.unref();"), "listens\n");
  assert.equal(run("await listener.close();"), "listens\n");
  assert.equal(run("setTimeout(() => { console.log('still'); listener.close(); }, 20).unref();"), "listens\nstill\n");
  assert.equal(run("listener.unref().ref(); setTimeout(() => { console.log('still'); listener.close(); }, 20).unref();"), "listens\nstill\n");
});

test("keystead serve listens, keeps its data and ends by SIGTERM, SIGINT and SHUTDOWN", { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "keystead-"));
  // A port of one's own: 0 would mean none, as for a server.
  const probe = new Cache();
  const listener = await probe.listen("127.0.0.1:0");
  const port = portOf(listener.addresses[0]);
  await listener.close();
  probe.close();
  try {
    for (const [at, end] of ["SIGTERM", "SIGINT", "SHUTDOWN"].entries()) {
      const server = spawn(process.execPath, [program, "serve", "--port", String(port), "--bind", "127.0.0.1", "--save", "3600 1"], {
        cwd: folder,
        stdio: ["ignore", "ignore", "pipe"],
      });
      const exited = once(server, "exit");
      const lines = createInterface({ input: server.stderr });
      for await (const line of lines) if (line.endsWith(`listens on 127.0.0.1:${port}`)) break;
      const redis = new IORedis(port, "127.0.0.1", { retryStrategy: null });
      redis.on("error", () => {});
      assert.equal(await redis.incr("n"), at + 1);
      if (end === "SHUTDOWN") redis.shutdown().catch(() => {});
      else server.kill(end);
      assert.deepEqual(await exited, [0, null]);
      redis.disconnect();
    }
    assert.ok(readdirSync(folder).includes("dump.rdb"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("keystead says what it can do, and refuses what it can't", () => {
  const run = (...words) => execFileSync(process.execPath, [program, ...words], { encoding: "utf8", stdio: "pipe" });
  assert.match(run("--help"), /serve/);
  assert.match(run("--version"), /^keystead \d+\.\d+\.\d+\n$/);
  assert.throws(() => run("nonsense"), { status: 2 });
  assert.throws(() => run("serve", "--no-such-option", "1"), (error) => error.status === 1 && error.stderr.length > 0);
});
