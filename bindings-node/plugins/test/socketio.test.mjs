// Two servers of socket.io that talk to each other by the Redis adapter, and by the one on streams.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import IORedis from "ioredis";
import IORedis5 from "ioredis5";
import { Server } from "socket.io";
import { io } from "socket.io-client";
import { PLACES, until } from "./places.mjs";

const ADAPTERS = {
  "the Redis adapter": (open) => createAdapter(open(), open()),
  "the Redis adapter by shards": (open) => createShardedAdapter(open(), open(), { subscriptionMode: "dynamic" }),
  "the streams adapter": (open) => createStreamsAdapter(open(), { blockTimeInMs: 50 }),
};

for (const [place, options] of Object.entries(PLACES)) {
  for (const [version, Client] of Object.entries({ "ioredis 6": IORedis, "ioredis 5": IORedis5 })) {
    for (const [name, adapter] of Object.entries(ADAPTERS)) {
      test(`socket.io with ${name} on ${version} ${place}`, { timeout: 120_000 }, async (context) => {
        const shared = await options();
        const closing = [];
        context.after(async () => {
          for (const close of closing.reverse()) await close();
        });
        const open = () => {
          const client = new Client(shared);
          client.on("error", () => {});
          closing.push(() => client.disconnect());
          return client;
        };
        const start = async () => {
          const http = createServer();
          const server = new Server(http, { adapter: adapter(open), connectionStateRecovery: name === "the streams adapter" ? {} : undefined });
          http.listen(0, "127.0.0.1");
          await once(http, "listening");
          closing.push(() => server.close());
          return { server, port: http.address().port };
        };
        const [one, two] = [await start(), await start()];
        const connect = async ({ port }) => {
          const client = io(`http://127.0.0.1:${port}`, { transports: ["websocket"], forceNew: true });
          closing.push(() => client.close());
          await once(client, "connect");
          return client;
        };
        const clients = [await connect(one), await connect(two)];
        const heard = clients.map(() => []);
        clients.forEach((client, at) => client.onAny((...words) => words[0] !== "ask" && heard[at].push(words)));
        // The servers have to have found each other.
        await until(async () => (await one.server.fetchSockets().catch(() => [])).length === 2);
        one.server.emit("all", { n: 1 });
        two.server.emit("bytes", Buffer.from([0, 255]));
        await until(() => heard.every((words) => words.length === 2));
        for (const words of heard) {
          // The streams adapter sends along where its stream was.
          assert.deepEqual(words.find(([event]) => event === "all").slice(0, 2), ["all", { n: 1 }]);
          assert.deepEqual(Buffer.from(words.find(([event]) => event === "bytes")[1]), Buffer.from([0, 255]));
        }
        // A server moves the other's sockets, and speaks to them by their rooms.
        two.server.in(clients[0].id).socketsJoin("room");
        await until(async () => (await two.server.in("room").fetchSockets()).length === 1);
        two.server.to("room").emit("room", 1);
        await until(() => heard[0].length === 3);
        assert.equal(heard[1].length, 2);
        assert.deepEqual(heard[0].at(-1).slice(0, 2), ["room", 1]);
        // Acknowledgements come from the clients of all servers.
        clients.forEach((client, at) => client.on("ask", (answer) => answer(at)));
        const answers = await one.server.timeout(60_000).emitWithAck("ask");
        assert.deepEqual(answers.sort(), [0, 1]);
        // Servers ask each other.
        two.server.on("rooms?", (answer) => answer("two"));
        assert.deepEqual(await one.server.serverSideEmitWithAck("rooms?"), ["two"]);
        if (name === "the streams adapter") {
          // Who was away for a moment has what it missed, out of the stream.
          clients[1].io.engine.close();
          await until(() => clients[1].disconnected);
          one.server.emit("missed", 1);
          await until(() => heard[1].some(([event]) => event === "missed"));
          assert.equal(clients[1].recovered, true);
        }
        two.server.in("room").disconnectSockets();
        await until(() => clients[0].disconnected);
        assert.equal(clients[1].connected, true);
      });
    }
  }
}
