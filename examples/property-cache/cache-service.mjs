// The cache service of the platform: properties, tenants, invoice templates, sessions, rate limits.
// Where values come from is the caller's business; the HTTP face is monitor.mjs.

import { readFileSync } from "node:fs";
import { Cache } from "keystead";

const HOUR = 3600;
/** Seconds that each kind of value lives. */
export const TTL = { property: HOUR, tenant: HOUR / 2, invoiceTemplate: 2 * HOUR, session: HOUR };
/** Namespaces of keys, as the monitor counts them. */
export const NAMESPACES = ["property:", "tenant:", "invoice-template:", "session:", "whatsapp:", "api:"];
export const WHATSAPP_LIMIT = { limit: 10, window: HOUR };
/** Requests per window and client; other endpoints have `default`. */
const API_LIMITS = {
  default: { limit: 100, window: 60 },
  "/invoices": { limit: 20, window: 60 },
  "/login": { limit: 5, window: 300 },
};
const CONFIG = readFileSync(new URL("valkey.conf", import.meta.url), "utf8");

export class CacheService {
  #cache;
  #apiLimits;

  /**
   * Services of one name, in whatever worker thread, share their data; so do those of one path, a folder, and there the data outlive the process.
   * One process at a time has a folder.
   */
  constructor({ name = "property-cache", path, config = CONFIG, apiLimits = {} } = {}) {
    this.#cache = new Cache(path === undefined ? { name, config } : { path, config });
    this.#apiLimits = { ...API_LIMITS, ...apiLimits };
  }

  cacheProperty(id, property, ttl = TTL.property) {
    return this.#cache.set(`property:${id}`, property, ttl);
  }

  getProperty(id) {
    return this.#cache.get(`property:${id}`, null);
  }

  cacheTenant(id, tenant, ttl = TTL.tenant) {
    return this.#cache.set(`tenant:${id}`, tenant, ttl);
  }

  getTenant(id) {
    return this.#cache.get(`tenant:${id}`, null);
  }

  cacheInvoiceTemplate(id, template, ttl = TTL.invoiceTemplate) {
    return this.#cache.set(`invoice-template:${id}`, template, ttl);
  }

  getInvoiceTemplate(id) {
    return this.#cache.get(`invoice-template:${id}`, null);
  }

  /** A value of a kind of `TTL`, loaded once for however many ask while it is missing. */
  load(kind, id, loader) {
    const namespace = kind === "invoiceTemplate" ? "invoice-template" : kind;
    return this.#cache.wrap(`${namespace}:${id}`, TTL[kind], () => loader(id));
  }

  setSession(id, session, ttl = TTL.session) {
    return this.#cache.set(`session:${id}`, { ttl, session }, ttl);
  }

  /** The session, which from now on lives as long again. */
  getSession(id) {
    const stored = this.#cache.get(`session:${id}`);
    if (stored === undefined) return null;
    this.#cache.touch(`session:${id}`, stored.ttl);
    return stored.session;
  }

  endSession(id) {
    return this.#cache.delete(`session:${id}`) === 1;
  }

  /** Counts a message to a phone number; false if its ten of this hour are used up. */
  checkWhatsAppRateLimit(phone) {
    return this.#allow(`whatsapp:${phone}`, WHATSAPP_LIMIT);
  }

  /** Counts a request of a client to an endpoint; false if that is too many. */
  checkApiRateLimit(endpoint, client) {
    return this.#allow(`api:${endpoint}:${client}`, this.#apiLimits[endpoint] ?? this.#apiLimits.default);
  }

  #allow(key, { limit, window }) {
    // The window is opened before it is counted in, so no counter is ever without an end.
    this.#cache.call("SET", key, 0, "EX", window, "NX");
    return this.#cache.incr(key) <= limit;
  }

  /** Per phone number: messages counted, left, and seconds until the window ends. */
  whatsAppRateLimits() {
    return this.#keys("whatsapp:").map((key) => {
      const count = this.#cache.get(key, 0);
      const remaining = Math.max(0, WHATSAPP_LIMIT.limit - count);
      return { phone: key.slice("whatsapp:".length), count, remaining, resetsIn: Math.ceil(this.#cache.ttl(key) ?? 0) };
    });
  }

  cachedProperties() {
    return this.#keys("property:").map((key) => ({ key, ttl: Math.ceil(this.#cache.ttl(key) ?? 0), property: this.#cache.get(key) }));
  }

  /** Deletes the keys that match a glob pattern, or that begin with a plain word; tells how many. */
  clear(pattern) {
    if (!/[*?[\]\\]/.test(pattern)) return this.#cache.clear(pattern);
    let [cursor, keys, deleted] = ["0", [], 0];
    do {
      [cursor, keys] = this.#cache.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000);
      deleted += this.#cache.delete(...keys);
    } while (cursor !== "0");
    return deleted;
  }

  /** Applies the settings that suit this work and tells those that hold afterwards. */
  tune(settings = { "maxmemory-policy": "allkeys-lru", "slowlog-log-slower-than": "10000", "slowlog-max-len": "128" }) {
    for (const [name, value] of Object.entries(settings)) this.#cache.call("CONFIG", "SET", name, value);
    const names = Object.keys(settings);
    const words = this.#cache.call("CONFIG", "GET", ...names);
    const held = Object.fromEntries(Array.from({ length: words.length / 2 }, (_, at) => [words[2 * at], words[2 * at + 1]]));
    const wrong = names.filter((name) => held[name] !== settings[name]);
    if (wrong.length > 0) throw new Error(`settings did not take effect: ${wrong.join(", ")}`);
    return held;
  }

  /** How many entries there are, of all kinds. */
  get size() {
    return this.#cache.size;
  }

  ping() {
    return this.#cache.call("PING");
  }

  /** Memory, hits, connections, commands, and keys by namespace. */
  stats() {
    const info = Object.fromEntries(this.#cache.call("INFO").split("\r\n").filter((line) => line.includes(":")).map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1)];
    }));
    const { keys, hits, misses, hitRate, expired, evicted, usedBytes, peakBytes, maxBytes } = this.#cache.stats();
    return {
      memory: { usedBytes, peakBytes, maxBytes, policy: info.maxmemory_policy },
      hits,
      misses,
      hitRate,
      connections: Number(info.connected_clients ?? 0),
      commandsProcessed: Number(info.total_commands_processed ?? 0),
      expired,
      evicted,
      keys,
      keysByPattern: this.#keysByNamespace(),
    };
  }

  #keysByNamespace() {
    const counts = Object.fromEntries(NAMESPACES.map((namespace) => [`${namespace}*`, 0]));
    for (const key of this.#cache.keys()) {
      const namespace = NAMESPACES.find((namespace) => String(key).startsWith(namespace));
      if (namespace) counts[`${namespace}*`] += 1;
    }
    return counts;
  }

  #keys(namespace) {
    return [...this.#cache.keys()].filter((key) => typeof key === "string" && key.startsWith(namespace)).sort();
  }

  close() {
    return this.#cache.close();
  }
}
