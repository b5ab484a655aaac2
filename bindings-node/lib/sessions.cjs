// What connect-redis asks of a client of node-redis, answered by a cache's engine: sessions of express-session without a socket.
// Which keys there are, and for how long, is connect-redis's affair.
"use strict";

const { Cache } = require("./cache.cjs");
const { usage } = require("./usage.cjs");

/** Keys that one look at the engine goes through, if nobody says how many. */
const PAGE = 100;

/** A client for connect-redis on a cache's engine. */
function sessionClient(cache) {
  if (!(cache instanceof Cache)) throw usage("a Cache was expected");
  return {
    get: async (key) => cache.call("GET", key),
    set: async (key, value, { expiration } = {}) => {
      const words = expiration === undefined ? [] : [expiration.type, expiration.value];
      return cache.call("SET", key, value, ...words);
    },
    expire: async (key, seconds) => cache.call("EXPIRE", key, seconds),
    del: async (keys) => cache.call("DEL", ...[keys].flat()),
    mGet: async (keys) => cache.call("MGET", ...keys),
    async *scanIterator({ MATCH = "*", COUNT = PAGE } = {}) {
      let cursor = "0";
      do {
        const [next, keys] = cache.call("SCAN", cursor, "MATCH", MATCH, "COUNT", COUNT);
        cursor = next;
        yield keys;
      } while (cursor !== "0");
    },
  };
}

module.exports = { sessionClient };
