// Sessions of express-session, kept by connect-redis, in process and through node-redis: made, kept, prolonged, listed, ended.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { createClient as createClient5 } from "redis5";
import { Cache } from "keystead";
import { sessionClient } from "keystead/connect-redis";
import { atEnd, nodeRedis } from "./places.mjs";
import { browser, serve } from "./web.mjs";

/** A client of node-redis, and what asks its engine. */
const bySocket = (create, options) => async () => {
  const client = await nodeRedis(create, options);
  return { client, ask: (...words) => client.sendCommand(words.map(String)) };
};

const CLIENTS = {
  "in process": () => {
    const cache = new Cache();
    atEnd(() => cache.close());
    return { client: sessionClient(cache), ask: async (...words) => cache.call(...words) };
  },
  "over a socket by node-redis 6": bySocket(createClient),
  "over a socket by node-redis 6 in RESP3": bySocket(createClient, { RESP: 3 }),
  "over a socket by node-redis 5": bySocket(createClient5),
};

for (const [name, open] of Object.entries(CLIENTS)) {
  test(`connect-redis ${name}: sessions are kept, prolonged and ended`, async (context) => {
    const { client, ask } = await open();
    const store = new RedisStore({ client, prefix: "app:", ttl: 3600 });
    const app = express();
    app.use(session({ store, secret: "s", resave: false, saveUninitialized: false, rolling: true, cookie: { maxAge: 3_600_000 } }));
    app.get("/visit", (request, response) => {
      request.session.visits = (request.session.visits ?? 0) + 1;
      request.session.name = "Größe";
      response.json({ visits: request.session.visits, id: request.sessionID });
    });
    app.get("/look", (request, response) => response.json(request.session.visits ?? null));
    app.get("/leave", (request, response) => request.session.destroy(() => response.json(null)));
    app.get("/renew", (request, response) => request.session.regenerate(() => response.json(request.sessionID)));
    const { base, close } = await serve(app);
    context.after(close);
    const [ada, bob] = [browser(base), browser(base)];
    const json = async (ask, path) => (await ask(path)).json();
    const { id } = await json(ada, "/visit");
    assert.equal((await json(ada, "/visit")).visits, 2);
    assert.equal(await json(bob, "/look"), null);
    await json(bob, "/visit");
    assert.equal(await json(ada, "/look"), 2);
    // It stands in the engine as connect-redis writes it.
    assert.equal(JSON.parse(await ask("GET", `app:${id}`)).name, "Größe");
    // Looking at a page prolongs the session.
    await ask("EXPIRE", `app:${id}`, 10);
    await json(ada, "/look");
    assert.ok((await ask("TTL", `app:${id}`)) > 1000);
    const all = await store.all();
    assert.deepEqual(all.map(({ visits }) => visits).sort(), [1, 2]);
    assert.equal((await store.ids()).length, 2);
    assert.equal(await store.length(), 2);
    await json(ada, "/leave");
    assert.equal(await ask("EXISTS", `app:${id}`), 0);
    assert.equal(await json(ada, "/look"), null);
    const before = (await json(bob, "/visit")).id;
    await json(bob, "/renew");
    assert.equal(await ask("EXISTS", `app:${before}`), 0);
    // A session whose time is over is none.
    const { id: last } = await json(bob, "/visit");
    await ask("PEXPIRE", `app:${last}`, 0);
    assert.equal(await json(bob, "/look"), null);
    await store.clear();
    assert.equal(await store.length(), 0);
  });
}
