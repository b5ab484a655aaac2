"""Lists what a mapped snapshot (*.ks) holds. Written from docs/snapshot.md alone, as another program would be.

    python3 tests/read_snapshot.py FILE      # FILE may be compressed by gzip

Each line is an entry: database, type, encoding, deadline (unix milliseconds, or -), key and the beginning of
the value, where that stands in one piece.
"""

import gzip
import struct
import sys
import zlib
from pathlib import Path

PAGE, ALIGNED, SHARDS, BUCKET = 4096, 65_536, 256, 64
KINDS = ["string int", "hash listpack", "string embstr", "string raw", "string raw", "hash hashtable"]
KINDS += ["list listpack", "list quicklist", "set intset", "set listpack", "set hashtable"]
KINDS += ["zset listpack", "zset skiplist", "stream stream", "stream stream"]


def up(number, to):
    """The next multiple."""
    return -(-number // to) * to


def listpack(data):
    """The elements of a listpack; integers as their text."""
    (count,), at, code = struct.unpack_from("<I", data), 4, 0
    for _ in range(count):
        code, at = code ^ data[at], at + 1
        around, length = 0, code if code < 128 else code - 145 if 145 < code < 154 else 0
        if 128 <= code < 144:
            around, length = 1, (code - 128) << 8 | data[at]
        elif 144 <= code < 146:
            around = code - 141
            length = int.from_bytes(data[at : at + around], "little")
        payload, at = data[at + around : at + around + length], at + 2 * around + length
        number = int.from_bytes(payload, "little", signed=True) if code < 154 else code - 154
        yield payload if code < 146 else str(number).encode()
    assert data[at] == code and at + 1 == len(data), "a listpack ends with the last joint"


class Snapshot:
    """A file whose parts are whole; asserts that they are."""

    def __init__(self, data):
        self.data = data
        self.at, self.pages = self.number("Q", 56), self.number("I", 44)
        assert data[:16] == b"KEYSTEAD" + struct.pack("<II", 1, PAGE), "another format"
        assert len(data) == self.number("Q", 16) and self.number("I", 52) == SHARDS, "cut off"
        self.end = self.at + self.number("Q", 64)
        head, meta, sums = data[: PAGE - 4], data[self.at : self.end], data[self.end :]
        for part, at in (head, PAGE - 4), (meta, 72), (sums, 88):
            assert zlib.crc32(part) == self.number("I", at), f"what has its checksum at byte {at} is damaged"
        for at, checksum in zip(range(PAGE, self.at, PAGE), struct.iter_unpack("<I", sums), strict=True):
            assert zlib.crc32(data[at : at + PAGE]) == checksum[0], f"the page at byte {at} is damaged"

    def number(self, form, at):
        """The number at a byte."""
        return struct.unpack_from("<" + form, self.data, at)[0]

    def next(self, form, times=1):
        """The next numbers of the meta."""
        form = struct.Struct("<" + form * times)
        self.at += form.size
        return form.unpack_from(self.data, self.at - form.size)

    def entries(self):
        """Database, type and encoding, deadline (or 0), key and value of each entry, by way of the tables."""
        databases, place, keys = [], up(ALIGNED + self.pages * PAGE, ALIGNED) + 8 * self.pages, 0
        for _ in range(self.number("I", 76)):
            (number, rows), place = self.next("QI"), up(place, ALIGNED)
            databases.append((number, place))
            place += rows * SHARDS * BUCKET
        for shard in range(SHARDS):
            self.next("QQ")
            for _ in range(2):
                self.next("II", self.next("I")[0])
            for _ in range(self.next("I")[0]):
                database, homes, expected, *_ = self.next("IIIII")
                with_deadline, *_ = self.next("QQQ")
                self.next("I", self.next("I")[0])
                number, start = databases[database]
                chains = [start + (SHARDS * home + shard) * BUCKET for home in range(homes)]
                found = [self.entry(at) for bucket in chains for at in self.chain(bucket)]
                assert len(found) == expected, f"a table of {expected} entries has {len(found)}"
                assert sum(entry[1] > 0 for entry in found) == with_deadline, "a table counts its deadlines"
                keys += expected
                yield from ((number, *entry) for entry in found)
        for _ in range(self.next("I")[0]):
            self.at += self.next("Q")[0]
        assert keys == self.number("Q", 80) and self.at == self.end, "the head counts keys, and the meta ends"

    def chain(self, bucket):
        """Where the entries of a bucket begin, and those of the buckets that go on from it."""
        for slot in range(12):
            if self.data[bucket + slot]:
                yield ALIGNED + 8 * self.number("I", bucket + 16 + 4 * slot)
        if overflow := self.number("I", bucket + 12):
            yield from self.chain(ALIGNED + 8 * overflow)

    def entry(self, at):
        """Type and encoding, deadline (or 0), key and value of the entry that begins there."""
        word, deadline, at = self.number("Q", at), 0, at + 8
        kind, key, value = word & 31, word >> 40 & 255, word >> 48
        if word & 64:
            (key, value), at = struct.unpack_from("<II", self.data, at), at + 8
        if word & 32:
            deadline, at = self.number("Q", at), at + 8
        key, at = self.data[at : at + key], at + key
        value, held = self.data[at : at + value], "..."
        shared = len(key) + len(value) + (15 if len(key) < 32 else 17)
        if kind == 2 and (shared > 128 or (deadline and len(key) > 107)):
            kind = 3
        # The root of a list says whether its only node is what is called a listpack.
        name = KINDS[6 if kind == 7 and self.data[up(at, 8) + 22] & 1 else kind]
        if kind == 0:
            held = self.number("q", at)
        elif kind == 4:
            page, length = struct.unpack_from("<QQ", self.data, up(at, 8))
            held = self.data[ALIGNED + PAGE * page :][:length]
        elif kind == 8:
            form = {2: "<h", 4: "<i", 8: "<q"}[value[0]]
            held = [number for (number,) in struct.iter_unpack(form, value[1:])]
        elif kind in (1, 6, 9, 11):
            held = list(listpack(value))
        elif kind < 4:
            held = value
        return name, deadline, key, held


if __name__ == "__main__":
    path = Path(sys.argv[1])
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found = sorted(Snapshot(content).entries(), key=lambda entry: (entry[0], entry[3]))
    for number, kind, deadline, key, held in found:
        print(number, kind, deadline or "-", repr(key)[2:-1], str(held)[:200])
