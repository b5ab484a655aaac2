// Where the plug-ins' tests find an engine: in this process by the clients' own Connector, and over a socket.
// What the plug-ins do with it is the tests' affair.

import { after } from "node:test";
import { Cache } from "keystead";
import { Connector } from "keystead/connector";

let number = 0;
const closing = [];

after(async () => {
  // Clients first, and the engines that they use last.
  for (const close of closing.reverse()) await close();
});

/** Has something done when the tests of the file have ended; what was asked for last comes first. */
export function atEnd(close) {
  closing.push(close);
}

/** An engine that a listener serves: its host and port. */
export async function served() {
  const cache = new Cache();
  const listener = await cache.listen("127.0.0.1:0");
  atEnd(async () => {
    await listener.close();
    cache.close();
  });
  const [address] = listener.addresses;
  return { host: "127.0.0.1", port: Number(address.slice(address.lastIndexOf(":") + 1)) };
}

/** By its name, what gives the options of ioredis and iovalkey for an engine of its own. */
export const PLACES = {
  "in process": async () => ({ Connector, name: `plug-ins ${process.pid} ${(number += 1)}` }),
  "over a socket": served,
};

/** A client of a class, which is closed at the end. */
export function opened(Client, options) {
  const client = new Client(options);
  // What ends at the end may hear of it.
  client.on("error", () => {});
  atEnd(() => client.disconnect());
  return client;
}

/** Waits until a condition holds. */
export async function until(holds) {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** A client of node-redis on an engine that a listener serves: it takes no other transport than sockets. */
export async function nodeRedis(createClient, options) {
  const client = createClient({ socket: await served(), ...options });
  client.on("error", () => {});
  await client.connect();
  atEnd(() => client.destroy());
  return client;
}
