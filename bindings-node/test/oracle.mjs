// A real server for the tests of a file, and what compares with it. Needs KEYSTEAD_ORACLE, the path of valkey-server; without it there is nothing to
// compare with.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import IORedis from "ioredis";
import { Redis } from "keystead/ioredis";

const program = process.env.KEYSTEAD_ORACLE;
let server, other, folder;

/** Why tests that compare do not run, or false. */
export const skip = program === undefined && "KEYSTEAD_ORACLE is not set";

/** The server's socket. */
export let path;

/** The port of another one, which keys are moved to. */
export let target;

/** A port that is free. */
async function freePort() {
  const listening = createServer().listen(0, "127.0.0.1");
  await once(listening, "listening");
  const { port } = listening.address();
  listening.close();
  await once(listening, "close");
  return port;
}

before(async () => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), "keystead-"));
  path = join(folder, "s");
  server = spawn(program, ["--port", "0", "--unixsocket", path, "--save", "", "--dir", folder], { stdio: "ignore" });
  target = await freePort();
  const there = join(folder, "t");
  other = spawn(program, ["--port", `${target}`, "--bind", "127.0.0.1", "--unixsocket", there, "--save", "", "--dir", folder], { stdio: "ignore" });
  while (!existsSync(path) || !existsSync(there)) await new Promise((resolve) => setTimeout(resolve, 10));
});

after(() => {
  if (skip) return;
  for (const one of [server, other]) one.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** Values as plain data: errors by name and text, and those before a failed EXEC. */
export function plain(value) {
  if (value instanceof Error) return { error: value.name, text: value.message, before: value.previousErrors?.map(plain) };
  if (Buffer.isBuffer(value)) return { buffer: value.toString("latin1") };
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
  }
  return value;
}

export const outcome = (promise) => Promise.resolve(promise).then(plain, plain);

let number = 0;

/** Runs `steps` on both; each yields what is to be compared. `open` makes the client that is ours. */
export async function compare(steps, options = {}, open = (all) => new Redis(all)) {
  const real = new IORedis({ path, ...options, retryStrategy: () => 20 });
  const ours = open({ name: `oracle ${(number += 1)}`, ...options });
  const [expected, got] = [[], []];
  try {
    await real.flushall();
    for (const step of steps(real)) expected.push(await outcome(step));
    for (const step of steps(ours)) got.push(await outcome(step));
  } finally {
    for (const client of [real, ours]) client.disconnect();
  }
  expected.forEach((wanted, at) => assert.deepEqual(got[at], wanted, `step ${at}`));
  assert.ok(expected.length > 0 && got.length === expected.length);
}
