// What users of BullMQ rely on, for any of its versions and any connection: jobs processed, retried, delayed, recovered.
// Which version, and over which connection, is the tests' affair.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./places.mjs";

let number = 0;

/** A promise, and what settles it. */
function deferred() {
  let settle;
  const promise = new Promise((resolve) => (settle = resolve));
  return { promise, settle };
}

/**
 * Declares the tests.
 *
 * @param title What is tested.
 * @param bullmq The package.
 * @param connect Gives the option `connection` for the engine; what it opens it closes itself.
 */
export function declare(title, bullmq, connect) {
  const { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } = bullmq;

  /** What a test opens, and closes at its end. */
  function bench(context, connection) {
    const name = `queue ${(number += 1)}`;
    const opened = [];
    context.after(async () => {
      for (const one of opened.reverse()) await one.close(true).catch(() => {});
    });
    const keep = (one) => {
      one.on("error", () => {});
      opened.push(one);
      return one;
    };
    return {
      name,
      queue: () => keep(new Queue(name, { connection })),
      worker: (run, { queueName = name, ...options } = {}) => keep(new Worker(queueName, run, { connection, ...options })),
      events: async () => {
        const events = keep(new QueueEvents(name, { connection }));
        await events.waitUntilReady();
        return events;
      },
      flows: () => keep(new FlowProducer({ connection })),
    };
  }

  const check = (what, run) =>
    test(`${title}: ${what}`, { timeout: 120_000 }, async (context) => run(bench(context, await connect())));

  check("jobs are processed once, with their results, progress and logs", async ({ queue, worker, events }) => {
    const jobs = queue();
    const heard = await events();
    const seen = [];
    const progress = [];
    heard.on("progress", ({ data }) => progress.push(data));
    worker(async (job) => {
      seen.push(job.data.n);
      await job.updateProgress(job.data.n);
      await job.log(`row ${job.data.n}`);
      return { twice: job.data.n * 2 };
    }, { concurrency: 4 });
    const added = await jobs.addBulk(Array.from({ length: 50 }, (_, n) => ({ name: "double", data: { n } })));
    const results = await Promise.all(added.map((job) => job.waitUntilFinished(heard)));
    assert.deepEqual(results, added.map((_, n) => ({ twice: n * 2 })));
    assert.deepEqual(seen.sort((a, b) => a - b), added.map((_, n) => n));
    await until(() => progress.length === 50);
    assert.deepEqual((await jobs.getJobLogs(added[7].id)).logs, ["row 7"]);
    await until(async () => (await jobs.getJobCounts()).active === 0);
    const { completed, failed, waiting } = await jobs.getJobCounts();
    assert.deepEqual([completed, failed, waiting], [50, 0, 0]);
    const [newest] = await jobs.getCompleted(0, 0);
    assert.deepEqual(newest.returnvalue, { twice: newest.data.n * 2 });
  });

  check("failures are retried with a back-off, and end as failed", async ({ queue, worker, events }) => {
    const jobs = queue();
    const heard = await events();
    const tries = new Map();
    worker(async (job) => {
      const count = (tries.get(job.name) ?? 0) + 1;
      tries.set(job.name, count);
      if (job.name === "fatal") throw new UnrecoverableError("never again");
      if (job.name === "hopeless" || count < 3) throw new Error(`try ${count}`);
      return count;
    });
    const options = { attempts: 3, backoff: { type: "exponential", delay: 5 } };
    const [flaky, hopeless, fatal] = await jobs.addBulk(["flaky", "hopeless", "fatal"].map((name) => ({ name, data: {}, opts: options })));
    assert.equal(await flaky.waitUntilFinished(heard), 3);
    await assert.rejects(hopeless.waitUntilFinished(heard), /try 3/);
    await assert.rejects(fatal.waitUntilFinished(heard), /never again/);
    assert.deepEqual(Object.fromEntries(tries), { flaky: 3, hopeless: 3, fatal: 1 });
    const failed = await jobs.getJob(hopeless.id);
    assert.equal(failed.attemptsMade, 3);
    assert.equal(failed.failedReason, "try 3");
    await failed.retry();
    await until(async () => tries.get("hopeless") === 4);
  });

  check("delayed jobs wait for their time, and can be sent at once", async ({ queue, worker, events }) => {
    const jobs = queue();
    const heard = await events();
    const order = [];
    const far = await jobs.add("far", {}, { delay: 3_600_000 });
    const later = await jobs.add("later", {}, { delay: 60 });
    await jobs.add("now", {});
    assert.equal(await far.getState(), "delayed");
    const run = worker(async (job) => order.push(job.name));
    await later.waitUntilFinished(heard);
    assert.deepEqual(order, ["now", "later"]);
    assert.equal((await jobs.getDelayedCount()), 1);
    await far.promote();
    await far.waitUntilFinished(heard);
    assert.deepEqual(order, ["now", "later", "far"]);
    await run.close();
  });

  check("priorities come first, and LIFO before FIFO", async ({ queue, worker }) => {
    const jobs = queue();
    const order = [];
    for (const [name, opts] of [["last", { priority: 9 }], ["second", { priority: 2 }], ["third", { priority: 2 }], ["plain", {}], ["lifo", { lifo: true }]]) {
      await jobs.add(name, {}, opts);
    }
    worker(async (job) => order.push(job.name));
    await until(() => order.length === 5);
    assert.deepEqual(order, ["lifo", "plain", "second", "third", "last"]);
  });

  check("a worker that dies loses its job to another, and what stalls too often fails", async ({ queue, worker, events }) => {
    const jobs = queue();
    const heard = await events();
    const stalled = [];
    heard.on("stalled", ({ jobId }) => stalled.push(jobId));
    const taken = deferred();
    const dying = worker(() => new Promise(() => taken.settle()), { lockDuration: 30, skipLockRenewal: true, skipStalledCheck: true });
    const job = await jobs.add("heavy", { n: 1 });
    await taken.promise;
    await dying.close(true);
    worker(async ({ data }) => data.n + 1, { stalledInterval: 40, maxStalledCount: 1 });
    assert.equal(await job.waitUntilFinished(heard), 2);
    assert.deepEqual(stalled, [job.id]);
  });

  check("a rate limit lets exactly so many through", async ({ queue, worker }) => {
    const jobs = queue();
    let done = 0;
    const limited = worker(async () => (done += 1), { limiter: { max: 3, duration: 3_600_000 } });
    await jobs.addBulk(Array.from({ length: 5 }, () => ({ name: "call", data: {} })));
    await until(async () => done >= 3 && (await jobs.getRateLimitTtl(3)) > 0);
    await limited.close(true);
    assert.equal(done, 3);
    await until(async () => (await jobs.getJobCounts("completed")).completed === 3);
    await jobs.removeRateLimitKey();
    worker(async () => (done += 1));
    await until(() => done === 5);
  });

  check("schedulers repeat, by interval and by cron, until they are removed", async ({ queue, worker }) => {
    const jobs = queue();
    const runs = [];
    worker(async (job) => runs.push(job.name));
    await jobs.upsertJobScheduler("tick", { every: 10 }, { name: "tick", data: {} });
    await jobs.upsertJobScheduler("yearly", { pattern: "0 0 1 1 *" }, { name: "yearly", data: {} });
    assert.equal(await jobs.getJobSchedulersCount(), 2);
    await until(() => runs.length >= 3);
    assert.equal(await jobs.removeJobScheduler("tick"), true);
    assert.deepEqual(new Set(runs), new Set(["tick"]));
    const [yearly] = await jobs.getJobSchedulers();
    assert.equal(yearly.pattern, "0 0 1 1 *");
    assert.equal(new Date(yearly.next).getMonth(), 0);
  });

  check("a flow's parent has its children's results", async ({ name, worker, flows, queue, events }) => {
    const heard = await events();
    const parts = `${name} parts`;
    worker(async (job) => job.data.n * 10, { queueName: parts });
    worker(async (job) => Object.values(await job.getChildrenValues()).reduce((sum, one) => sum + one, 0));
    const children = [1, 2, 3].map((n) => ({ name: "part", data: { n }, queueName: parts }));
    const { job } = await flows().add({ name: "whole", queueName: name, data: {}, children });
    assert.equal(await job.waitUntilFinished(heard), 60);
    assert.equal(await queue().getWaitingChildrenCount(), 0);
  });

  check("deduplication, pause, drain and obliterate", async ({ queue, worker }) => {
    const jobs = queue();
    const first = await jobs.add("once", {}, { deduplication: { id: "same" } });
    const second = await jobs.add("once", {}, { deduplication: { id: "same" } });
    assert.equal(second.id, first.id);
    await jobs.pause();
    assert.equal(await jobs.isPaused(), true);
    const done = [];
    worker(async (job) => done.push(job.id));
    await jobs.resume();
    await until(() => done.length === 1);
    await jobs.pause();
    await jobs.addBulk(Array.from({ length: 20 }, () => ({ name: "x", data: {} })));
    await jobs.drain();
    assert.equal(await jobs.count(), 0);
    await until(async () => (await jobs.getActiveCount()) === 0);
    await jobs.obliterate();
    assert.equal((await jobs.getJobCounts("completed")).completed, 0);
  });

  check("workers are known by their names, and metrics count", async ({ queue, worker }) => {
    const jobs = queue();
    const run = worker(async () => 1, { name: "ada", metrics: { maxDataPoints: 10 } });
    await run.waitUntilReady();
    await until(async () => (await jobs.getWorkers()).length === 1);
    await jobs.add("x", {});
    await until(async () => (await jobs.getMetrics("completed")).meta.count >= 1);
  });
}
