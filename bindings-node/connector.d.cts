// Types of `keystead/connector`, for any client that takes a Connector: ioredis 5 and 6, iovalkey.
// ESM sees them through connector.d.mts.

/** Options of a client that name its engine, besides the client's own. */
export interface EngineOptions {
  /** Clients of one name, and caches of that name, share an engine; by default those of one host and port, or path, do. */
  name?: string;
  /**
   * The folder that the data is kept in, as the option `path` of `Cache` says; caches of that path share the engine, which is closed with the last of them all.
   * Not `path`, which is a client's for the address of a socket. Excludes `name`.
   */
  dataPath?: string | URL;
  /** Memory for data, in bytes or as in valkey.conf ("100mb"). Counts for whoever opens the engine first. */
  maxmemory?: number | string;
  /** The text of a valkey.conf, or names and values. Counts for whoever opens the engine first. */
  config?: string | Record<string, string | number>;
}

/**
 * What the stock clients take in place of their own Connector: `new Redis({ Connector, name: "app" })`. They talk RESP to the engine without a socket;
 * all that they can do over one works. A client keeps the process alive while a command of its waits for a time, or while it hears messages.
 *
 * Clients declare the type of this option each for itself, with members that are not public, so nothing narrower than `any` suits all of them.
 */
export const Connector: new (options: any) => any;
