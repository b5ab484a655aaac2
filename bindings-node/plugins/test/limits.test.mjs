// Limits are hit exactly: express-rate-limit with rate-limit-redis, and rate-limiter-flexible, by stock clients.

import assert from "node:assert/strict";
import { test } from "node:test";
import express from "express";
import { rateLimit } from "express-rate-limit";
import IORedis from "ioredis";
import IORedis5 from "ioredis5";
import Valkey from "iovalkey";
import { Redis as Face } from "keystead/ioredis";
import { RedisStore } from "rate-limit-redis";
import { BurstyRateLimiter, RateLimiterQueue, RateLimiterRedis } from "rate-limiter-flexible";
import { PLACES, opened } from "./places.mjs";
import { serve } from "./web.mjs";

const HOUR = 3_600_000;
/** Our own class has no socket to choose. */
const CLIENTS = { "ioredis 6": IORedis, "ioredis 5": IORedis5, iovalkey: Valkey, "keystead/ioredis": Face };

for (const [place, options] of Object.entries(PLACES)) {
  for (const [name, Client] of Object.entries(CLIENTS)) {
    if (Client === Face && place !== "in process") continue;
    const open = async () => {
      const { Connector, ...rest } = await options();
      return opened(Client, Client === Face ? rest : { ...rest, ...(Connector && { Connector }) });
    };

    test(`express-rate-limit on ${name} ${place}: as many requests as allowed, and not one more`, async (context) => {
      const client = await open();
      const store = (prefix) => new RedisStore({ prefix, sendCommand: (...words) => client.call(...words) });
      const app = express();
      const limiter = rateLimit({ windowMs: HOUR, limit: 10, standardHeaders: "draft-8", legacyHeaders: true, store: store("a:"), keyGenerator: (request) => request.query.user });
      app.get("/", limiter, (_, response) => response.send("ok"));
      app.get("/reset", async (request, response) => {
        await limiter.resetKey(request.query.user);
        response.send("reset");
      });
      const failing = rateLimit({ windowMs: HOUR, limit: 2, skipFailedRequests: true, store: store("b:"), keyGenerator: () => "all" });
      app.get("/failing", failing, (request, response) => response.status(Number(request.query.status)).end());
      const { base, close } = await serve(app);
      context.after(close);
      const ask = (path) => fetch(base + path);
      const statuses = await Promise.all(Array.from({ length: 40 }, () => ask("/?user=ada").then(({ status }) => status)));
      assert.equal(statuses.filter((status) => status === 200).length, 10);
      assert.equal(statuses.filter((status) => status === 429).length, 30);
      const other = await ask("/?user=bob");
      assert.equal(other.status, 200);
      assert.equal(other.headers.get("x-ratelimit-remaining"), "9");
      assert.ok(Number(other.headers.get("x-ratelimit-reset")) * 1000 > Date.now());
      await ask("/reset?user=ada");
      assert.equal((await ask("/?user=ada")).headers.get("x-ratelimit-remaining"), "9");
      // Requests that fail are given back.
      for (let at = 0; at < 5; at += 1) assert.equal((await ask("/failing?status=500")).status, 500);
      const { totalHits } = await store("b:").get("all").then((hits) => hits ?? { totalHits: 0 });
      assert.equal(totalHits, 0);
      // A store whose scripts were forgotten loads them anew.
      await client.script("FLUSH");
      assert.equal((await ask("/?user=ada")).headers.get("x-ratelimit-remaining"), "8");
    });

    test(`rate-limiter-flexible on ${name} ${place}: points are taken exactly, blocked and given back`, async () => {
      const storeClient = await open();
      const limiter = new RateLimiterRedis({ storeClient, keyPrefix: "p", points: 10, duration: 3600, blockDuration: 7200 });
      const tries = await Promise.allSettled(Array.from({ length: 60 }, () => limiter.consume("ada")));
      assert.equal(tries.filter(({ status }) => status === "fulfilled").length, 10);
      const { reason } = tries.find(({ status }) => status === "rejected");
      assert.equal(reason.remainingPoints, 0);
      assert.ok(reason.msBeforeNext > 3_600_000, `${reason.msBeforeNext}`);
      assert.equal((await limiter.get("ada")).remainingPoints, 0);
      assert.equal(await limiter.delete("ada"), true);
      assert.equal((await limiter.consume("ada", 3)).remainingPoints, 7);
      assert.equal((await limiter.reward("ada", 2)).remainingPoints, 9);
      assert.equal((await limiter.penalty("ada", 4)).remainingPoints, 5);
      await limiter.set("ada", 1000, 60);
      await assert.rejects(limiter.consume("ada"), { remainingPoints: 0 });
      await limiter.block("bob", 60);
      await assert.rejects(limiter.consume("bob"));
      const scripted = new RateLimiterRedis({ storeClient, keyPrefix: "s", points: 5, duration: 3600, useRedisPackage: false, rejectIfRedisNotReady: true });
      const burst = new BurstyRateLimiter(scripted, new RateLimiterRedis({ storeClient, keyPrefix: "burst", points: 3, duration: 3600 }));
      const bursts = await Promise.allSettled(Array.from({ length: 20 }, () => burst.consume("x")));
      assert.equal(bursts.filter(({ status }) => status === "fulfilled").length, 8);
      const queue = new RateLimiterQueue(new RateLimiterRedis({ storeClient, keyPrefix: "q", points: 2, duration: 3600 }), { maxQueueSize: 1 });
      assert.deepEqual([await queue.removeTokens(1), await queue.removeTokens(1)], [1, 0]);
    });
  }
}
