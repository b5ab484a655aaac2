// Types of the package `keystead`.
// Those of `keystead/ioredis` are in ioredis.d.cts.

/** A key: text, or bytes. */
export type Key = string | Uint8Array;

/** Turns values that are neither strings, numbers nor bytes into MessagePack and back. */
export interface MessagePackCodec {
  name: "msgpack";
  encode(value: unknown): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}

export interface NearOptions {
  /** How many values are kept beside the engine. */
  max: number;
  /**
   * Keep what a codec made, and Buffers, too: then every `get` returns the same object, which must not be changed. Otherwise only strings,
   * numbers, BigInts and booleans are kept.
   */
  objects?: boolean;
}

export interface CacheOptions {
  /** Every cache of this name in the process, in whatever worker, has the same data. Without a name the data is the cache's own. */
  name?: string;
  /**
   * The folder that the data is kept in. It is made if it is not there, but for the folder it is in; what is in it is loaded before the constructor returns.
   * Every write goes to a log there: an ended or killed process loses nothing that a call has returned for, a power failure no more than `config`'s
   * `appendfsync` allows ("everysec" by default, "always", "no"). Every cache of this path in the process, in whatever worker, has the same data; another
   * process gets an error of the code `KS_ERR_IO` that names the holder. Excludes `name`.
   */
  path?: string | URL;
  /**
   * Memory for data, in bytes or as in valkey.conf ("100mb"). A cache that is full evicts, by default under `allkeys-adaptive`; `config` may name
   * another `maxmemory-policy`. Counts for whoever opens the name or path first.
   */
  maxmemory?: number | string;
  /** Put before every key. */
  prefix?: string;
  /** What other values than strings, numbers and bytes are written as. */
  codec?: "json" | MessagePackCodec;
  /**
   * Keep values in this isolate beside the engine: `get` of such a key makes no native call, and still never returns a value that was
   * changed, deleted or evicted before the call, by whatever worker. Values that expire are judged by a clock that up to 8 calls of one turn
   * of the event loop share. Keys are strings; hits count neither in `stats` nor as uses for eviction.
   */
  near?: NearOptions;
  /** Further options: the text of a valkey.conf, or names and values. Counts for whoever opens the name or path first. */
  config?: string | Record<string, string | number>;
}

export interface SetOptions {
  /** Time to live in seconds. */
  ttl?: number | null;
  /** Only if the key does not exist. */
  nx?: boolean;
  /** Only if the key exists. */
  xx?: boolean;
  /** Leave the deadline that the key has. */
  keepTtl?: boolean;
}

export interface WrapOptions {
  /** Time to live in seconds. */
  ttl?: number | null;
}

/** Figures of the whole engine, not only of the keys with this cache's prefix. */
export interface CacheStats {
  keys: number;
  hits: number;
  misses: number;
  /** Share of reads that found their key, 0 to 1. */
  hitRate: number;
  expired: number;
  evicted: number;
  usedBytes: number;
  peakBytes: number;
  /** 0 means no limit. */
  maxBytes: number;
}

/** An error of the engine; `code` is one of the constants of core/src/error.rs. */
export interface KeysteadError extends Error {
  code: `KS_ERR_${string}`;
}

/**
 * What lets clients of other processes talk to an engine, in RESP2 and RESP3: made by `Cache.listen`. It keeps the process alive, and the engine open,
 * until it is closed.
 */
export interface Listener extends AsyncDisposable {
  /** Where it listens, such as "127.0.0.1:6379"; empty once it is closed. */
  readonly addresses: string[];
  /** Keeps the process alive, as from the beginning. */
  ref(): this;
  /** No longer keeps the process alive. */
  unref(): this;
  /** Accepts no more connections. Those that are open go on. A second call changes nothing. */
  close(): Promise<void>;
}

/**
 * Values with their types under keys.
 *
 * Strings, numbers, BigInts, booleans and null come back as they are, bytes as Buffers, and plain objects and arrays of these (but for bytes and
 * BigInts) as plain objects and arrays. What JSON would change, such as a Map, a Date, an instance of a class, `undefined` or NaN in an object, or
 * more than 1,000 levels, is refused by a TypeError; a codec of your own may take it. Integers that a number can't hold, and that another language
 * wrote, come as BigInts. Every method returns at once;
 * `await` on its result works too. Errors are thrown as {@link KeysteadError}.
 */
export class Cache {
  /**
   * @param options Where the data is, and how it is kept.
   * @throws {TypeError} `KS_ERR_USAGE`: an option is wrong, or `name` and `path` are both given.
   * @throws {KeysteadError} `KS_ERR_IO`: another process has the path, or what is there is damaged or can't be read or written.
   */
  constructor(options?: CacheOptions);
  readonly name: string | undefined;
  /** The whole path of the folder that the data is kept in. */
  readonly path: string | undefined;
  /**
   * What whoever opened the engine should know of what was on disk: what was imported, taken from the end of the log that a killed process left, or cut off.
   * Empty where there is nothing to say.
   */
  readonly openingNotes: string[];

  /** The value of a key, or `fallback`. */
  get<T = unknown>(key: Key): T | undefined;
  get<T>(key: Key, fallback: T): T;
  /** Sets a value; a number as third argument is its time to live in seconds. Tells whether the condition let it. */
  set(key: Key, value: unknown, options?: number | SetOptions): boolean;
  /** Tells how many of the keys there were. */
  delete(...keys: Key[]): number;
  has(key: Key): boolean;
  /** The values that there are, in the order of the keys. */
  getMany<T = unknown, K extends Key = string>(keys: Iterable<K>): Map<K, T>;
  /** Sets all of them or none, at one moment. */
  setMany(entries: Iterable<readonly [Key, unknown]> | Record<string, unknown>, ttl?: number | { ttl?: number }): void;
  /** Adds to an integer that was set as a number, missing ones count as 0; a BigInt comes back where a number can't hold the sum. */
  incr(key: Key, by?: number): number | bigint;
  decr(key: Key, by?: number): number | bigint;
  /** Gives a key a new time to live, in seconds; without one it no longer expires. Tells whether the key exists. */
  touch(key: Key, ttl?: number | null): boolean;
  /** Seconds to live; `null` if it does not expire, `undefined` if there is no such key. */
  ttl(key: Key): number | null | undefined;
  /** Deletes the keys that begin with the cache's prefix and this one; tells how many. O(all keys). */
  clear(prefix?: string): number;
  /** The keys without the cache's prefix; Buffers for those that are not UTF-8. O(all keys). */
  keys(): IterableIterator<string | Buffer>;
  /** How many keys begin with the cache's prefix. O(all keys) with a prefix. */
  readonly size: number;
  /**
   * The value of a key, loaded if it is missing: once for however many callers wait for it, through whatever cache of the name in whatever worker.
   * It comes as it will from `get`. A rejection reaches all who wait in the loader's isolate and is not cached, nor is `undefined`; other isolates load
   * for themselves then. What is loaded while the key is set, deleted or cleared, in whatever way, is returned, but not stored.
   *
   * A loader may need its own key, or one whose loader needs this: nobody waits in a circle. A load that takes longer than 2 seconds while
   * others wait for it is begun again by one of them, the next time after twice as long.
   */
  wrap<T>(key: Key, options: number | WrapOptions | null | undefined, loader: (key: Key) => T | Promise<T>): Promise<T>;
  stats(): CacheStats;

  /** The string of a key as GET would tell it, whatever type it was set with; what is not UTF-8 in it becomes U+FFFD. */
  getString(key: Key): string | undefined;
  /** The bytes of a key as stored. */
  getBuffer(key: Key): Buffer | undefined;
  /** Sets a string or bytes as SET would, without a type. */
  setString(key: Key, value: string | Uint8Array, ttl?: number): boolean;
  /** A field of a hash. */
  hget(key: Key, field: Key): string | undefined;
  /** The strings of keys as MGET would tell them. They may be slices of one string of at most 65,536 characters. */
  mget(keys: Iterable<Key>): (string | undefined)[];
  /** Any command of Valkey; keys get no prefix. An error reply is thrown. Integers that a number can't hold come as BigInts. */
  call(...words: (string | number | Uint8Array)[]): any;

  /**
   * Writes all databases of the engine, as they are now, to one file of Valkey's format (RDB), or of Keystead's own if its name ends in `.ks`, by another thread. The file takes the place of what was there,
   * whole or not at all. O(data).
   *
   * @param path The file.
   * @returns A promise that is fulfilled when the file is on disk. The process does not end before.
   * @throws {TypeError} `KS_ERR_USAGE`: the path is none.
   * @throws {KeysteadError} `KS_ERR_IO`: the file can't be written; what was there is there. `KS_ERR_CLOSED`: the cache is closed.
   */
  snapshot(path: string | URL): Promise<void>;
  /**
   * Has all databases of the engine hold what a file of Valkey's format (RDB) or of Keystead's own holds, and nothing else, by another thread. Nobody sees a part of it; calls of
   * others wait while it is loaded, and writes are refused with `KS_ERR_BUSY` until the log of a path is written anew. O(data).
   *
   * @param path The file: a snapshot, or a dump of Valkey or Redis.
   * @returns A promise that is fulfilled when all is there.
   * @throws {TypeError} `KS_ERR_USAGE`: the path is none.
   * @throws {KeysteadError} `KS_ERR_IO`: the file is damaged or can't be read, and nothing has changed; or the log can't be written. `KS_ERR_OOM`: there is
   * no memory for it. `KS_ERR_CLOSED`: the cache is closed.
   */
  restore(path: string | URL): Promise<void>;

  /**
   * Lets any client of Valkey talk to the engine, all databases of it and without the cache's prefix. The engine's options `protected-mode`, `requirepass`,
   * `maxclients` and others count for its connections.
   *
   * @param address `"127.0.0.1:6379"`, `"[::1]:6379"`, or a name of a host with a port; port 0 lets the system choose.
   * @returns A promise of what listens.
   * @throws {TypeError} `KS_ERR_USAGE`: the address is no text, or none.
   * @throws {KeysteadError} `KS_ERR_IO`: nobody can listen there. `KS_ERR_CLOSED`: the cache is closed.
   */
  listen(address: string): Promise<Listener>;

  /**
   * Ends the cache; tells whether it was open. Data under a name stays until every cache of that name is closed. With the last cache of a path its log ends,
   * what was acknowledged is on disk, and other processes may open the path.
   */
  close(): boolean;
}
