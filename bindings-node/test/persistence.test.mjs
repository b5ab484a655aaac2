// Data in a folder: reopening, one process at a time, snapshots, ends of processes, and kills at any moment.
// What the files hold, and how they are recovered, is tested with the engine.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { Cache } from "keystead";
import { Redis } from "keystead/ioredis";

const top = fs.mkdtempSync(join(tmpdir(), "keystead-"));
after(() => fs.rmSync(top, { recursive: true }));

let number = 0;
/** A place for an engine, in a folder of its own. */
const fresh = () => join(fs.mkdtempSync(join(top, `${(number += 1)}-`)), "app.ks");

/** Lets DEBUG DIGEST tell two states apart. */
const DEBUG = { "enable-debug-command": "yes" };

/** What hangs longer than any machine takes. */
const HANGS = 120_000;

/** Waits for something to happen, and says what did not. */
async function until(step, happens) {
  for (const begun = Date.now(); !(await happens()); await sleep(2)) {
    assert.ok(Date.now() - begun < HANGS, `never happened: ${step}`);
  }
}

/** Waits for a promise, and says whose it is if it never comes. */
async function within(step, promise) {
  const timer = new AbortController();
  const hangs = sleep(HANGS, undefined, { signal: timer.signal }).then(() => assert.fail(`never happened: ${step}`));
  hangs.catch(() => {});
  return Promise.race([promise, hangs]).finally(() => timer.abort());
}

const HEAD = 'const { Cache } = require("keystead"); const [path, ...words] = process.argv.slice(1);';

/** What another process prints that runs to its end. */
async function other(step, code, ...words) {
  const { stdout } = await within(step, promisify(execFile)(process.execPath, ["-e", `${HEAD} ${code}`, ...words]));
  return stdout;
}

/** What opening a path comes to in another process. */
const opened = async (path) => JSON.parse(await other("opening in another process", `
  try {
    const cache = new Cache({ path });
    console.log(JSON.stringify({ keys: cache.size, notes: cache.openingNotes, pid: process.pid }));
    cache.close();
  } catch ({ code, message }) {
    console.log(JSON.stringify({ code, message }));
  }`, path));

/** A process that runs on, and what it said on standard error. */
function start(code, ...words) {
  const child = spawn(process.execPath, ["-e", `${HEAD} ${code}`, ...words], { stdio: ["pipe", "pipe", "pipe"] });
  child.said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (child.said += text));
  child.ended = once(child, "close");
  return child;
}

test("what was written is there when a path is opened again", () => {
  const path = fresh();
  const cache = new Cache({ path, prefix: "p:" });
  assert.deepEqual([cache.path, cache.name, cache.openingNotes], [path, undefined, []]);
  cache.set("object", { name: "Łucja" }, { ttl: 1000 });
  cache.setMany({ number: 1.5, text: "żółć", big: 2n ** 70n });
  cache.set("bytes", Buffer.from([0, 255]));
  cache.set("gone", 1);
  cache.delete("gone");
  cache.call("RPUSH", "list", "a", "b");
  assert.equal(cache.close(), true);
  assert.throws(() => cache.openingNotes, { code: "KS_ERR_CLOSED" });

  const again = new Cache({ path: pathToFileURL(path), prefix: "p:" });
  assert.deepEqual(again.get("object"), { name: "Łucja" });
  assert.ok(again.ttl("object") > 900);
  assert.deepEqual(["number", "text", "big", "bytes", "gone"].map((key) => again.get(key)), [1.5, "żółć", 2n ** 70n, Buffer.from([0, 255]), undefined]);
  assert.deepEqual(again.call("LRANGE", "list", "0", "-1"), ["a", "b"]);
  assert.deepEqual([again.path, again.openingNotes], [path, []]);
  again.close();
});

test("all who open a path have one engine, whatever they write for it", async () => {
  const path = fresh();
  const caches = [path, relative(process.cwd(), path), pathToFileURL(path), join(path, "..", "app.ks")].map((path) => new Cache({ path }));
  const redis = new Redis({ dataPath: path });
  caches.forEach((cache) => cache.incr("n"));
  assert.equal(await redis.incr("n"), 5);
  const copy = redis.duplicate();
  redis.disconnect();
  assert.equal(caches[0].get("n"), 5);
  caches.forEach((cache) => cache.close());
  assert.equal((await opened(path)).code, "KS_ERR_IO", "a client has it yet");
  await copy.quit();
  assert.equal((await opened(path)).keys, 1);
});

test("a path that is no place for an engine", async () => {
  const path = fresh();
  const file = join(path, "..", "file");
  fs.writeFileSync(file, "text");
  const missing = join(path, "..", "none", "app.ks");
  for (const [path, message] of [[join(file, "app.ks"), /Not a directory/], [file, /File exists|Not a directory/], [missing, /No such file/]]) {
    assert.throws(() => new Cache({ path }), (error) => {
      assert.equal(error.code, "KS_ERR_IO");
      assert.match(error.message, message);
      return error.message.includes(path);
    });
    const redis = new Redis({ dataPath: path, lazyConnect: true });
    redis.on("error", () => {});
    await assert.rejects(redis.connect(), { code: "KS_ERR_IO" });
  }
  assert.throws(() => new Cache({ name: "x", path }), { name: "TypeError", code: "KS_ERR_USAGE", message: /name and path exclude each other/ });
  assert.throws(() => new Redis({ name: "x", dataPath: path }), { name: "TypeError", code: "KS_ERR_USAGE", message: /name and dataPath exclude each other/ });
  assert.equal(fs.existsSync(path), false);
  assert.equal(fs.readFileSync(file, "utf8"), "text");
});

test("one process has a path at a time", async () => {
  const path = fresh();
  const cache = new Cache({ path });
  cache.set("k", 1);
  const refused = await opened(path);
  assert.equal(refused.code, "KS_ERR_IO");
  assert.ok(refused.message.includes(`${path} is in use by process ${process.pid} (`), refused.message);
  cache.close();
  assert.equal((await opened(path)).keys, 1);

  const child = start('const cache = new Cache({ path }); cache.set("other", 1); console.log("open"); process.stdin.resume();', path);
  try {
    await within("the child opens the path", once(child.stdout, "data"));
    const holder = new RegExp(`in use by process ${child.pid} \\(`);
    assert.throws(() => new Cache({ path }), { code: "KS_ERR_IO", message: holder });
    const redis = new Redis({ dataPath: path });
    const [error] = await within("the client fails", once(redis, "error"));
    assert.equal(error.code, "KS_ERR_IO");
    assert.match(error.message, holder);
    child.stdin.end();
    await within("the child ends by itself", child.ended);
  } finally {
    child.kill("SIGKILL");
  }
  const again = new Cache({ path });
  assert.deepEqual([again.get("k"), again.get("other")], [1, 1]);
  again.close();
});

test("workers share an engine, and leave nothing behind", async () => {
  const path = fresh();
  const cache = new Cache({ path });
  cache.set("from main", { hello: "Ł" });
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { Cache } = require("keystead");
    const cache = new Cache({ path: workerData });
    for (let at = 0; at < 2000; at += 1) cache.incr("count");
    parentPort.postMessage(cache.get("from main"));`;
  const workers = Array.from({ length: 4 }, () => new Worker(code, { eval: true, workerData: path }));
  const messages = await within("the workers write", Promise.all(workers.map((worker) => once(worker, "message"))));
  for (const [message] of messages) assert.deepEqual(message, { hello: "Ł" });
  await within("the workers end", Promise.all(workers.map((worker) => worker.terminate())));
  assert.equal(cache.get("count"), 8000);
  cache.close();
  assert.equal((await opened(path)).keys, 2);
});

test("a path is opened while workers open and close it", async () => {
  const path = fresh();
  const code = `
    const { workerData } = require("node:worker_threads");
    const { Cache } = require("keystead");
    for (let at = 0; at < 40; at += 1) {
      const cache = new Cache({ path: workerData });
      cache.incr("count");
      if (at % 2 === 0) cache.close();
    }`;
  const workers = [1, 2].map(() => new Worker(code, { eval: true, workerData: path }));
  await within("the workers end", Promise.all(workers.map((worker) => once(worker, "exit"))));
  const cache = new Cache({ path });
  assert.equal(cache.get("count"), 80);
  cache.close();
});

test("a snapshot is written, and restored, beside everything else", async () => {
  const path = fresh();
  const file = join(path, "..", "copy.rdb");
  const cache = new Cache({ path, near: { max: 10 }, config: DEBUG });
  cache.set("k", { deep: ["ł"] });
  cache.set("n", 1);
  cache.call("SELECT", "1");
  cache.call("ZADD", "z", "1.5", "m");
  cache.call("SELECT", "0");
  const before = cache.call("DEBUG", "DIGEST");
  const writing = cache.snapshot(file);
  assert.ok(writing instanceof Promise);
  assert.equal(await within("the snapshot is written", writing), undefined);
  assert.deepEqual(fs.readdirSync(join(path, "..")).sort(), ["app.ks", "copy.rdb"]);

  cache.set("n", 2);
  assert.equal(cache.get("n"), 2);
  cache.set("later", 1);
  assert.equal(await within("it is restored", cache.restore(pathToFileURL(file))), undefined);
  assert.equal(cache.call("DEBUG", "DIGEST"), before);
  assert.deepEqual([cache.get("n"), cache.get("later"), cache.get("k")], [1, undefined, { deep: ["ł"] }]);
  cache.set("after", 1);
  cache.close();

  const again = new Cache({ path });
  assert.deepEqual([again.get("n"), again.get("later"), again.get("after")], [1, undefined, 1]);
  again.close();
  // An engine without a path takes it, too, and so do those that were opened by name.
  const own = new Cache();
  const redis = new Redis({ name: "restored" });
  await within("it is restored elsewhere", Promise.all([own.restore(file), new Cache({ name: "restored" }).restore(file)]));
  assert.deepEqual([own.get("n"), await redis.select(1), await redis.zscore("z", "m")], [1, "OK", "1.5"]);
  redis.disconnect();
});

test("what can't be restored changes nothing, nor does what can't be written", async () => {
  const path = fresh();
  const folder = join(path, "..");
  const file = join(folder, "copy.rdb");
  const cache = new Cache({ path, config: DEBUG });
  for (let at = 0; at < 1000; at += 1) cache.set(`k${at}`, { at });
  await within("the snapshot is written", cache.snapshot(file));
  cache.set("later", 1);
  const before = cache.call("DEBUG", "DIGEST");
  const whole = fs.readFileSync(file);
  const damaged = Buffer.from(whole);
  damaged[whole.length >> 1] ^= 1;
  for (const [name, bytes] of [["damaged", damaged], ["short", whole.subarray(0, -100)], ["text", Buffer.from("no snapshot")], ["empty", Buffer.alloc(0)]]) {
    fs.writeFileSync(join(folder, name), bytes);
    await assert.rejects(within(`restoring ${name}`, cache.restore(join(folder, name))), { code: "KS_ERR_IO" }, name);
    assert.equal(cache.call("DEBUG", "DIGEST"), before, name);
  }
  await assert.rejects(cache.restore(join(folder, "none")), { code: "KS_ERR_IO", message: /No such file/ });
  await assert.rejects(cache.restore(folder), { code: "KS_ERR_IO" });
  await assert.rejects(cache.snapshot(join(folder, "none", "copy.rdb")), { code: "KS_ERR_IO", message: /No such file/ });
  await assert.rejects(cache.snapshot(folder), { code: "KS_ERR_IO" });
  for (const wrong of [undefined, null, 5, "", "a\0b", {}, new URL("http://localhost/x")]) {
    await assert.rejects(cache.snapshot(wrong), { name: "TypeError", code: "KS_ERR_USAGE" });
    await assert.rejects(cache.restore(wrong), { name: "TypeError", code: "KS_ERR_USAGE" });
  }
  assert.deepEqual(fs.readFileSync(file), whole);
  assert.deepEqual(fs.readdirSync(folder).sort(), ["app.ks", "copy.rdb", "damaged", "empty", "short", "text"]);
  assert.equal(cache.call("DEBUG", "DIGEST"), before);
  cache.set("writes", 1);
  cache.close();
  const again = new Cache({ path });
  assert.deepEqual([again.size, again.get("writes")], [1002, 1]);
  again.close();
  await assert.rejects(again.snapshot(file), { code: "KS_ERR_CLOSED" });
  await assert.rejects(again.restore(file), { code: "KS_ERR_CLOSED" });
});

test("a cache may be closed, and a worker or the process end, while a snapshot is written", async () => {
  const path = fresh();
  const folder = join(path, "..");
  const cache = new Cache({ path });
  for (let at = 0; at < 20_000; at += 1) cache.set(`k${at}`, "x".repeat(100));
  const writing = cache.snapshot(join(folder, "closed.rdb"));
  assert.equal(cache.close(), true);
  await within("the snapshot is written", writing);
  assert.equal((await opened(path)).keys, 20_000);

  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const cache = new (require("keystead").Cache)({ path: workerData.path });
    cache.snapshot(workerData.file);
    parentPort.postMessage("begun");`;
  const worker = new Worker(code, { eval: true, workerData: { path, file: join(folder, "worker.rdb") } });
  await within("the worker begins", once(worker, "message"));
  await within("the worker ends", worker.terminate());
  assert.equal((await opened(path)).keys, 20_000);
  await other("the process ends", 'new Cache({ path }).snapshot(words[0]); process.exit();', path, join(folder, "exit.rdb"));
  await other("the process ends by itself", 'new Cache({ path }).snapshot(words[0]);', path, join(folder, "end.rdb"));
  assert.deepEqual(fs.readdirSync(folder).filter((name) => name.startsWith("temp-")), []);
  for (const name of ["closed.rdb", "end.rdb"]) {
    const own = new Cache();
    await within(`${name} is restored`, own.restore(join(folder, name)));
    assert.equal(own.size, 20_000, name);
    own.close();
  }
});

test("what a process leaves that ends without closing", async () => {
  const path = fresh();
  const ends = {
    "by itself": "",
    "by process.exit": "process.exit();",
    "in an error": 'process.on("uncaughtException", () => process.exit(0)); throw new Error();',
    "in a worker": `const { Worker } = require("node:worker_threads");
      new Worker('new (require("keystead").Cache)({ path: require("node:worker_threads").workerData }).incr("workers")', { eval: true, workerData: path });`,
  };
  let keys = 0;
  for (const [how, end] of Object.entries(ends)) {
    await other(`a process ends ${how}`, `const cache = new Cache({ path }); cache.set(words[0], 1); cache.incr("count"); ${end}`, path, how);
    keys += 1;
    const cache = new Cache({ path });
    assert.deepEqual([cache.get(how), cache.get("count")], [1, keys], how);
    // Otherwise nothing of the package runs, and the end of the log is taken from where a kill leaves it.
    if (how === "by itself") assert.deepEqual(cache.openingNotes, []);
    cache.close();
  }
  await assert.rejects(other("a process is ended", 'new Cache({ path }).set("term", 1); process.kill(process.pid, "SIGTERM"); setInterval(() => {}, 1000);', path), { signal: "SIGTERM" });
  const cache = new Cache({ path });
  assert.deepEqual([cache.get("term"), cache.get("workers")], [1, 1]);
  cache.close();
});

test("the notes of an opening say what was done about an end that is no whole command", async () => {
  const path = fresh();
  const cache = new Cache({ path });
  cache.set("k", 1);
  cache.close();
  const folder = join(path, "appendonlydir");
  const [last] = fs.readdirSync(folder).filter((name) => name.endsWith(".incr.aof"));
  fs.appendFileSync(join(folder, last), "*3\r\n$3\r\nSET\r\n$1");
  const again = new Cache({ path });
  assert.equal(again.openingNotes.length, 1);
  assert.match(again.openingNotes[0], /^The last 15 bytes of .*\.incr\.aof were no whole command/);
  assert.deepEqual(new Cache({ path }).openingNotes, again.openingNotes);
  assert.equal(again.get("k"), 1);
});

/** Two workers that write until they are killed, and note behind each round what was acknowledged; the log is rewritten meanwhile. */
const WRITER = `
  const { Worker } = require("node:worker_threads");
  const [policy, notes] = words;
  const write = \`
    const fs = require("node:fs");
    const { Cache } = require("keystead");
    const { path, policy, notes, thread } = require("node:worker_threads").workerData;
    const cache = new Cache({ path, config: { appendfsync: policy } });
    const [file, note] = [fs.openSync(notes, "r+"), Buffer.alloc(8)];
    for (let round = cache.get("count:" + thread, 0) + 1; ; round += 1) {
      cache.call("RPUSH", "list:" + thread, round);
      for (const words of [["MULTI"], ["INCR", "one:" + thread], ["HINCRBY", "other:" + thread, "f", 1], ["EXEC"]]) cache.call(...words);
      if (round % 64 === 0) cache.set("long:" + thread, String(round).repeat(20_000));
      cache.set("object:" + thread, { round });
      cache.incr("count:" + thread);
      note.writeBigUInt64LE(BigInt(round));
      fs.writeSync(file, note, 0, 8, thread * 8);
    }\`;
  const cache = new Cache({ path, config: { appendfsync: policy } });
  for (const thread of [0, 1]) new Worker(write, { eval: true, workerData: { path, policy, notes, thread } });
  setInterval(() => { try { cache.call("BGREWRITEAOF"); } catch {} }, 15);`;

const noted = (notes) => [0, 8].map((at) => Number(fs.readFileSync(notes).readBigUInt64LE(at)));

/** Whether a path has all that was acknowledged, and nothing that nobody began. */
function check(path, policy, notes, round) {
  const cache = new Cache({ path, config: { appendfsync: policy } });
  noted(notes).forEach((last, thread) => {
    const what = `round ${round}, ${policy}, thread ${thread}, ${last} noted`;
    const [list, one, other] = [["LLEN", `list:${thread}`], ["GET", `one:${thread}`], ["HGET", `other:${thread}`, "f"]].map((words) => Number(cache.call(...words)));
    const object = cache.get(`object:${thread}`, { round: 0 }).round;
    const count = cache.get(`count:${thread}`, 0);
    assert.equal(one, other, `${what}: a transaction is whole`);
    for (const [name, value] of Object.entries({ list, one, object, count })) {
      assert.ok(value === last || value === last + 1, `${what}: ${name} is ${value}`);
    }
    assert.ok(list >= one && one >= object && object >= count, `${what}: ${[list, one, object, count]}`);
    const long = cache.get(`long:${thread}`, "");
    assert.equal(long, long.slice(0, long.length / 20_000).repeat(20_000), `${what}: a long value is torn`);
    // The next child goes on where this one had counted to: what came behind that is taken back.
    if (list > count) cache.call("RPOP", `list:${thread}`);
    cache.call("SET", `one:${thread}`, count);
    cache.call("HSET", `other:${thread}`, "f", count);
    cache.set(`object:${thread}`, { round: count });
  });
  cache.close();
}

for (const policy of ["everysec", "always", "no"]) {
  test(`a killed process loses nothing that it acknowledged (appendfsync ${policy})`, async () => {
    const path = fresh();
    const notes = join(path, "..", "notes");
    fs.writeFileSync(notes, Buffer.alloc(16));
    for (let round = 0; round < 8; round += 1) {
      const before = noted(notes);
      const child = start(WRITER, path, policy, notes);
      try {
        await until(`round ${round}, ${policy}: both workers write`, () => {
          assert.equal(child.exitCode, null, `round ${round}, ${policy}: the child ended: ${child.said}`);
          return noted(notes).every((last, thread) => last > before[thread]);
        });
        await sleep(Math.random() * 60);
      } finally {
        child.kill("SIGKILL");
      }
      await within(`round ${round}, ${policy}: the child is gone`, child.ended);
      assert.equal(child.said, "", `round ${round}, ${policy}`);
      check(path, policy, notes, round);
    }
  });
}
