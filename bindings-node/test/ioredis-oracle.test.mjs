// The ioredis face against ioredis itself with a real server: the same calls must answer the same, whatever way they take.
// Needs KEYSTEAD_ORACLE, the path of valkey-server; without it there is nothing to compare with.

import { test } from "node:test";
import { compare, plain, skip } from "./oracle.mjs";

const called = (start) => new Promise((resolve) => start((error, reply) => resolve([plain(error), plain(reply)])));

for (const options of [{}, { keyPrefix: "p:" }, { stringNumbers: true }, { showFriendlyErrorStack: true }, { enableAutoPipelining: true }]) {
  const name = JSON.stringify(options);

  test(`commands with ${name}`, { skip }, async () => {
    await compare(function* (redis) {
      yield redis.set("k", "v");
      yield redis.set("k", 12);
      yield redis.set(Buffer.from("k"), 13.5);
      yield redis.set("k", null);
      yield redis.get("k");
      yield redis.set("k", "v", "EX", 100, "NX");
      yield redis.set("k", "v", "EX", 100);
      yield redis.ttl("k");
      yield redis.setex("k", 50, "w");
      yield redis.setex("k", "50", 7);
      yield redis.setex("k", 0, "w");
      yield redis.psetex("k", 500_000, "w");
      yield redis.setnx("k", "x");
      yield redis.setnx("k2", 1);
      yield redis.ttl("k2");
      yield redis.pttl("none");
      yield redis.expire("k2", 100);
      yield redis.expire("k2", "100");
      yield redis.expire("k2", -1);
      yield redis.pexpire("none", 100);
      yield redis.incr("n");
      yield redis.incrby("n", 5);
      yield redis.incrby("n", "x");
      yield redis.incrby("n", -5);
      yield redis.decr("n");
      yield redis.decrby("n", 3);
      yield redis.decrby("n", 9_007_199_254_740_991);
      yield redis.incr("k");
      yield redis.hset("h", "f", 1);
      yield redis.hset("h", { a: 1, b: null });
      yield redis.hset("h", new Map([["m", "x"]]), "too many");
      yield redis.hset("h", ["c", 1, "d", 2]);
      yield redis.hget("h", "f");
      yield redis.hget("h", Buffer.from("none"));
      yield redis.hget("h");
      yield redis.hgetall("h");
      yield redis.hgetallBuffer("h");
      yield redis.hmget("h", "f", "none", "a");
      yield redis.hmget("h", ["f", "a"]);
      yield redis.hget("k", "f");
      yield redis.mset({ x: 1, y: 2 });
      yield redis.mset("x", 1, "y", "é");
      yield redis.mget("x", "h", "none", "y");
      yield redis.mget(["x", "y"]);
      yield redis.mgetBuffer("x", "none");
      yield redis.mget();
      yield redis.get();
      yield redis.get("h");
      yield redis.get("x", "y");
      yield redis.getBuffer("y");
      yield redis.strlen("y");
      yield redis.append("y", true);
      yield redis.exists("x");
      yield redis.exists("x", "y", "x", "none");
      yield redis.del("x");
      yield redis.del(["x", "y"]);
      yield redis.unlink("none");
      yield redis.type("h");
      yield redis.object("ENCODING", "h");
      yield redis.call("GET", "k");
      // ioredis itself stumbles over this one in an automatic pipeline.
      if (!redis.options.enableAutoPipelining) yield redis.callBuffer("get", ["k"]);
      yield redis.echo("hi");
      yield redis.echoBuffer("hi");
      yield redis.keys("*").then((all) => all.sort());
      yield redis.rename("k", "k3");
      yield redis.copy("k3", "k4");
      yield redis.dbsize();
      yield called((done) => redis.get("k3", done));
      yield called((done) => redis.incr("k3", done));
      yield called((done) => redis.mset({ q: 1 }, done));
    }, options);
  });

  test(`pipelines and transactions with ${name}`, { skip }, async () => {
    await compare(function* (redis) {
      yield redis.pipeline().set("k", "v").get("k").incr("k").incr("n").strlen("k").hset("h", { a: 1 }).hgetall("h").exec();
      yield redis.pipeline().mget("k", "n").mget(["k", "none"]).getBuffer("k").exists("k", "n").exists("k").exec();
      yield redis.pipeline().set("k", 5).get(Buffer.from("k")).get().hset("h", "f", 2).ttl("k").expire("k", 10).ttl("k").exec();
      yield redis.pipeline([["set", "a", "1"], ["get", "a"]]).exec();
      yield redis.pipeline().exec();
      yield redis.pipeline().get("k").multi().set("k", 1).incr("k").exec().get("k").exec();
      yield called((done) => redis.pipeline().set("k", 1).get("k").exec(done));
      const seen = [];
      yield redis.pipeline().set("k", 1, (...all) => seen.push(plain(all))).get("k", (...all) => seen.push(plain(all))).exec();
      yield seen;
      yield redis.pipeline().set("k", 1).length;
      yield redis.pipeline().call("SET", "k", "7").call("get", "k").exec();
      yield redis.multi().set("k", "1").incr("k").hset("h", { z: 1 }).hgetall("h").getBuffer("k").mget("k", "none").exec();
      yield redis.multi().set("k", "text").incr("k").get("k").exec();
      yield redis.multi().set("k").get("k").exec();
      yield redis.multi([["set", "k", 3], ["incr", "k"]]).exec();
      yield redis.multi().exec();
      yield called((done) => redis.multi().incr("k").exec(done));
      yield called((done) => redis.multi().incr("k", () => {}).get("k").exec(done));
      yield redis.watch("w");
      yield redis.set("w", 1);
      yield redis.multi().set("k", "never").exec();
      yield redis.get("k");
      if (!redis.options.enableAutoPipelining) {
        yield redis.multi({ pipeline: false });
        yield redis.set("k", 9);
        yield redis.mget("k", "k");
        yield redis.incr("k");
        yield redis.exec();
        yield redis.get("k");
      }
    }, options);
  });
}
