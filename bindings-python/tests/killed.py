"""A process that writes until it is killed, and notes what was acknowledged. Arguments: folder, `appendfsync`, face, number of writers.

`test_kills.py` starts it. Each writer counts on from where its data says, and writes the count to its place in the file `notes` behind each round
of writes. What a writer writes in a round comes in this order: `value`, then `a` and `b` at one moment, `long` now and then, `count`.
"""

import asyncio
import contextlib
import os
import sys
import threading
import time

import keystead
import keystead.asyncio

EVERY = 64
REPEATED = 200_000


def note(notes, writer, count):
    os.pwrite(notes, count.to_bytes(8, "little"), writer * 8)


def with_cache(cache, writer, notes):
    count = cache.get(f"count:{writer}", 0)
    while True:
        count += 1
        cache.set(f"value:{writer}", {"n": count})
        cache.set_many({f"a:{writer}": count, f"b:{writer}": count})
        if count % EVERY == 0:
            cache.set(f"long:{writer}", f"{count}," * REPEATED)
        cache.incr(f"count:{writer}")
        note(notes, writer, count)


def with_client(client, writer, notes):
    count = int(client.get(f"count:{writer}") or 0)
    while True:
        count += 1
        client.set(f"value:{writer}", count)
        client.pipeline().set(f"a:{writer}", count).set(f"b:{writer}", count).execute()
        if count % EVERY == 0:
            client.set(f"long:{writer}", f"{count}," * REPEATED)
        client.incr(f"count:{writer}")
        note(notes, writer, count)


async def with_async_cache(cache, writer, notes):
    count = await cache.get(f"count:{writer}", 0)
    while True:
        count += 1
        await cache.set(f"value:{writer}", {"n": count})
        await cache.set_many({f"a:{writer}": count, f"b:{writer}": count})
        await cache.incr(f"count:{writer}")
        note(notes, writer, count)
        await asyncio.sleep(0)


async def with_async_client(client, writer, notes):
    count = int(await client.get(f"count:{writer}") or 0)
    while True:
        count += 1
        await client.set(f"value:{writer}", count)
        await client.pipeline().set(f"a:{writer}", count).set(f"b:{writer}", count).execute()
        await client.incr(f"count:{writer}")
        note(notes, writer, count)
        await asyncio.sleep(0)


def disturb(engine, folder):
    """Has the log written anew, and snapshots written, all the time."""
    store, cache = keystead.Store(engine), keystead.Cache(engine)
    while True:
        with contextlib.suppress(keystead.exceptions.ResponseError):
            store.execute("BGREWRITEAOF")
        cache.snapshot(os.path.join(folder, "copy.rdb"))
        time.sleep(0.005)


async def run_tasks(path, config, writers, notes):
    cache = keystead.asyncio.Cache(path=path, config=config)
    client = keystead.asyncio.Valkey(path=path)
    threading.Thread(target=disturb, args=(cache.engine, os.path.dirname(path)), daemon=True).start()
    await asyncio.gather(*[
        with_async_client(client, writer, notes) if writer % 2 else with_async_cache(cache, writer, notes)
        for writer in range(writers)
    ])  # fmt: skip


def main():
    folder, policy, face, writers = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    path, config = os.path.join(folder, "app.ks"), {"appendfsync": policy}
    notes = os.open(os.path.join(folder, "notes"), os.O_WRONLY)
    if face == "asyncio":
        asyncio.run(run_tasks(path, config, writers, notes))
    if face == "cache":
        opened, write = keystead.Cache(path=path, config=config), with_cache
    else:
        opened, write = keystead.Valkey(path=path, config=config), with_client
    for writer in range(writers):
        threading.Thread(target=write, args=(opened, writer, notes)).start()
    disturb(opened.engine, folder)


if __name__ == "__main__":
    main()
