// The ecosystem's clients, unchanged: calls of all groups of commands, in RESP2 and RESP3, by a listener's socket, and in process where a client takes
// another transport. What they resolve to must be what it is on a real server. Needs KEYSTEAD_ORACLE.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Decoder, GlideClient, Logger, ProtocolVersion } from "@valkey/valkey-glide";
import IORedis from "ioredis";
import IORedis5 from "ioredis5";
import Valkey from "iovalkey";
import { RESP_TYPES, createClient } from "redis";
import { createClient as createClient5 } from "redis5";
import { outcome, path, skip, target } from "./oracle.mjs";
import { PLACES, served, until } from "./places.mjs";
import { ROWS, TARGET, settled } from "./rows.mjs";

// Errors that are asked for are nothing to write about.
Logger.init("off");

/** A row's words as a client without ioredis's methods sends them. */
function wordsOf([name, ...row]) {
  const flat = (word) => {
    if (word === TARGET) return [String(target)];
    if (Array.isArray(word)) return word.flatMap(flat);
    if (word instanceof Map) return [...word].flat().flatMap(flat);
    if (word !== null && typeof word === "object" && !Buffer.isBuffer(word)) return Object.entries(word).flat().flatMap(flat);
    return [Buffer.isBuffer(word) ? word : String(word)];
  };
  return [name.replace(/Buffer$/, "").toUpperCase(), ...row.flatMap(flat)];
}

/** A row by a client of ioredis's kind: its method, if this version has it. */
function byMethod(client, [name, ...row]) {
  const words = row.map((word) => (word === TARGET ? target : word));
  if (typeof client[name] === "function") return client[name](...words);
  const [command, ...rest] = wordsOf([name, ...row]);
  return name.endsWith("Buffer") ? client.callBuffer(command, ...rest) : client.call(command, ...rest);
}

/** Clients of ioredis's kind: how one is opened, at a socket's path or as a place says, with options. */
const ioredis = (Client, options = {}) => ({
  real: () => new Client({ path, ...options }),
  places: Object.fromEntries(Object.entries(PLACES).map(([place, at]) => [place, async () => new Client({ ...(await at()), ...options })])),
  run: byMethod,
  transaction: async (client) => client.multi().set("a", "1").incr("a").get("a").exec().then((results) => results.map(([, result]) => String(result))),
  script: (client) => client.eval("return {KEYS[1], ARGV[1], 5}", 1, "k", "v"),
  subscribe: async (client, hear) => {
    client.on("message", (channel, message) => hear([channel, message]));
    await client.subscribe("news");
  },
  publish: (client) => client.publish("news", "hi"),
  close: (client) => client.disconnect(),
});

const nodeRedis = (create, RESP) => {
  const open = async (socket) => {
    const client = create({ socket, RESP });
    client.on("error", () => {});
    return client.connect();
  };
  return {
    real: () => open({ path }),
    places: { "over a socket": async () => open(await served()) },
    run: (client, row) => {
      const isBinary = row[0].endsWith("Buffer");
      return client.sendCommand(wordsOf(row), isBinary ? { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } } : undefined);
    },
    transaction: async (client) => (await client.multi().set("a", "1").incr("a").get("a").exec()).map(String),
    script: (client) => client.eval("return {KEYS[1], ARGV[1], 5}", { keys: ["k"], arguments: ["v"] }),
    subscribe: async (client, hear) => {
      const subscriber = await client.duplicate().connect();
      client.subscriber = subscriber;
      await subscriber.subscribe("news", (message, channel) => hear([channel, message]));
    },
    publish: (client) => client.publish("news", "hi"),
    close: (client) => {
      client.subscriber?.destroy();
      client.destroy();
    },
  };
};

/** Rows whose replies have no form as text. */
const BINARY = /Buffer$|^mget$|^dump$/;

const glide = (protocol) => {
  const open = (host, port, pubsubSubscriptions) => GlideClient.createClient({ addresses: [{ host, port }], protocol, requestTimeout: 60_000, pubsubSubscriptions });
  return {
    // It takes no path of a socket: the second of the real servers has a port.
    real: () => open("127.0.0.1", target),
    places: {
      "over a socket": async () => {
        const { host, port } = await served();
        const client = await open(host, port);
        client.place = [host, port];
        return client;
      },
    },
    run: (client, row) => client.customCommand(wordsOf(row), { decoder: BINARY.test(row[0]) ? Decoder.Bytes : Decoder.String }),
    // In RESP2 it hears nothing, by its own choice.
    subscribe: protocol === ProtocolVersion.RESP3 && (async (client, hear) => {
      const callback = ({ channel, message }) => hear([channel, message]);
      client.subscriber = await open(...client.place, { channelsAndPatterns: { 0: new Set(["news"]) }, callback });
    }),
    publish: (client) => client.publish("hi", "news"),
    close: (client) => {
      client.subscriber?.close();
      client.close();
    },
  };
};

const CLIENTS = {
  "ioredis 6": ioredis(IORedis),
  "ioredis 6 in RESP3": ioredis(IORedis, { protocol: 3 }),
  "ioredis 6 in RESP3 with its types": ioredis(IORedis, { protocol: 3, replyMapping: "resp3" }),
  "ioredis 5": ioredis(IORedis5),
  iovalkey: ioredis(Valkey),
  "node-redis 6": nodeRedis(createClient, 2),
  "node-redis 6 in RESP3": nodeRedis(createClient, 3),
  "node-redis 5": nodeRedis(createClient5, 2),
  "node-redis 5 in RESP3": nodeRedis(createClient5, 3),
  "valkey-glide": glide(ProtocolVersion.RESP2),
  "valkey-glide in RESP3": glide(ProtocolVersion.RESP3),
};

for (const [name, client] of Object.entries(CLIENTS)) {
  for (const [place, open] of Object.entries(client.places)) {
    test(`${name} ${place}: every group of commands replies as on a server`, { skip, timeout: 120_000 }, async (context) => {
      const real = await client.real();
      const ours = await open();
      context.after(() => [real, ours].forEach(client.close));
      await client.run(real, ["flushall"]);
      for (const row of ROWS) {
        // glide is on the server that keys would be moved to.
        if (row.includes(TARGET) && client.transaction === undefined) continue;
        const [expected, got] = [await outcome(client.run(real, row)), await outcome(client.run(ours, row))];
        assert.deepEqual(settled(row[0], got), settled(row[0], expected), `${row.map(String)}`);
      }
      if (client.transaction !== undefined) {
        assert.deepEqual(await client.transaction(ours), await client.transaction(real));
        assert.deepEqual(await client.script(ours), await client.script(real));
      }
    });

    if (!client.subscribe) continue;
    test(`${name} ${place}: messages come`, { timeout: 120_000 }, async (context) => {
      const ours = await open();
      const heard = [];
      context.after(() => client.close(ours));
      if (ours.duplicate !== undefined && client.run === byMethod) {
        const other = ours.duplicate();
        context.after(() => other.disconnect());
        await client.subscribe(ours, (message) => heard.push(message));
        await client.publish(other);
      } else {
        await client.subscribe(ours, (message) => heard.push(message));
        await client.publish(ours);
      }
      await until(() => heard.length > 0);
      assert.deepEqual(heard.map((words) => words.map(String)), [["news", "hi"]]);
    });
  }
}
