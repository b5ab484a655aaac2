// What outlives a process: the first start ends by itself or is killed, the second one answers from what it left.
// What the service does within one process is tested in service.test.mjs.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CacheService, WHATSAPP_LIMIT } from "../cache-service.mjs";

const SERVICE = new URL("../cache-service.mjs", import.meta.url);
const scratch = mkdtempSync(join(tmpdir(), "property-cache-test-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
let number = 0;
const newFolder = () => join(scratch, `${(number += 1)}.ks`);

/** Runs code with a service of the folder in a process of its own; what it told until it ended, or was killed after so many lines. */
async function run(folder, code, killedAfter = Infinity) {
  const program = `
    import { CacheService } from ${JSON.stringify(SERVICE)};
    const service = new CacheService({ path: ${JSON.stringify(folder)} });
    const tell = (value) => process.stdout.write(JSON.stringify(value) + "\\n");
    ${code}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
    timeout: 60_000,
  });
  const ended = once(child, "exit");
  const told = [];
  for await (const line of createInterface({ input: child.stdout })) {
    told.push(JSON.parse(line));
    if (told.length === killedAfter) child.kill("SIGKILL");
  }
  assert.deepEqual(await ended, killedAfter === Infinity ? [0, null] : [null, "SIGKILL"]);
  return told;
}

const STAY = "setInterval(() => {}, 1000);";
const FIRST = `
  const load = (id) => ({ id, by: process.pid });
  tell([await service.load("property", 7, load), await service.load("tenant", "AD.06", load)]);
  service.setSession("s", { userId: "user_123", permissions: ["read"] });
  for (let sent = 0; sent < 10; sent += 1) service.checkWhatsAppRateLimit("+1234567890");
  tell("done");`;

for (const [how, code, killedAfter] of [["ended", FIRST, undefined], ["was killed", FIRST + STAY, 2]]) {
  test(`after a start that ${how} the first request is a hit`, async () => {
    const path = newFolder();
    const [[property, tenant]] = await run(path, code, killedAfter);
    const service = new CacheService({ path });
    assert.equal(service.size, 4);
    const load = () => assert.fail("it was kept");
    assert.deepEqual(await service.load("property", 7, load), property);
    assert.deepEqual(await service.load("tenant", "AD.06", load), tenant);
    const { hits, misses } = service.stats();
    assert.deepEqual([hits, misses], [2, 0]);
    assert.deepEqual(service.getSession("s"), { userId: "user_123", permissions: ["read"] });
    assert.equal(service.checkWhatsAppRateLimit("+1234567890"), false);
    const [{ resetsIn }] = service.whatsAppRateLimits();
    assert.ok(resetsIn > 0 && resetsIn <= WHATSAPP_LIMIT.window);
    service.close();
  });

  test(`what expired after a start that ${how} is not served`, async () => {
    const path = newFolder();
    const keep = `
      service.cacheProperty("short", { rent: 1 }, 0.3);
      service.cacheProperty("long", { rent: 2 });
      service.setSession("s", {}, 0.3);
      tell(Date.now() + 300);`;
    const [deadline] = await run(path, keep + (killedAfter === undefined ? "" : STAY), killedAfter && 1);
    while (Date.now() <= deadline) await sleep(10);
    const service = new CacheService({ path });
    assert.deepEqual([service.getProperty("short"), service.getSession("s")], [null, null]);
    assert.deepEqual(service.cachedProperties().map(({ key }) => key), ["property:long"]);
    assert.deepEqual(await service.load("property", "short", () => ({ rent: 3 })), { rent: 3 });
    service.close();
  });
}

test("a start that is killed at work keeps all that it has told of", async () => {
  const path = newFolder();
  const work = "for (let id = 0; ; id += 1) { service.cacheProperty(id, { id, rent: id * 10 }); tell(id); await new Promise(setImmediate); }";
  const told = await run(path, work, 500);
  const service = new CacheService({ path });
  for (const id of told) assert.deepEqual(service.getProperty(id), { id, rent: id * 10 });
  service.close();
});

test("a load that was killed halfway keeps nobody waiting", async () => {
  const path = newFolder();
  await run(path, `service.load("property", 1, () => { tell("at it"); return new Promise(() => {}); }); ${STAY}`, 1);
  const service = new CacheService({ path });
  assert.deepEqual(await service.load("property", 1, () => ({ rent: 1 })), { rent: 1 });
  service.close();
});

test("what was cleared stays so, and a start without the folder knows nothing", async () => {
  const path = newFolder();
  await run(path, `${FIRST} service.clear("property"); service.endSession("s"); tell("cleared"); ${STAY}`, 3);
  const service = new CacheService({ path });
  assert.deepEqual([service.getProperty(7), service.getSession("s"), service.size], [null, null, 2]);
  assert.equal(new CacheService({ name: "restarted without" }).size, 0);
  service.close();
});

test("one process at a time has the folder", async () => {
  const path = newFolder();
  const service = new CacheService({ path });
  const open = `try { new CacheService({ path: ${JSON.stringify(path)} }); } catch ({ code }) { tell(code); }`;
  assert.deepEqual(await run(newFolder(), open), ["KS_ERR_IO"]);
  service.close();
});
