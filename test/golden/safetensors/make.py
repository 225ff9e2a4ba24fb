"""Makes verdicts.bin.gz: small safetensors files, most of them damaged, with the verdict of the Rust reader.

    python make.py [seed [count [file]]]        (safetensors 0.8.0; nothing else is needed)

Each record: u32 length of the file · u8 accepted · 8 bytes of digest (0 when refused) · the file. The digest is that
of what an accepted file holds: per tensor, in the order of the names' UTF-8, `name NUL dtype NUL shape NUL data`;
tensors of types that dawntune does not read are left out. Both `safe_open` and `deserialize` must say the same.
"""

import gzip
import hashlib
import json
import os
import random
import struct
import sys
import tempfile

from safetensors import deserialize, safe_open

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
    "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
}
READ = list(BITS)[:13]
scratch = os.path.join(tempfile.mkdtemp(), "x.safetensors")


def verdict(content):
    with open(scratch, "wb") as file:
        file.write(content)
    try:
        with safe_open(scratch, "np") as opened:
            names = opened.keys()
        mapped = True
    except Exception as error:
        assert type(error).__name__ == "SafetensorError", error
        mapped = False
    try:
        tensors = dict(deserialize(content))
    except Exception as error:
        assert type(error).__name__ == "SafetensorError", error
        assert not mapped, content
        return False, b"\0" * 8
    assert mapped and sorted(names) == sorted(tensors), content
    digest = hashlib.sha256()
    for name in sorted(tensors, key=lambda name: name.encode()):
        tensor = tensors[name]
        if tensor["dtype"] in READ:
            shape = ",".join(str(extent) for extent in tensor["shape"])
            digest.update(b"\0".join([name.encode(), tensor["dtype"].encode(), shape.encode(), b""]))
            digest.update(bytes(tensor["data"]))
    return True, digest.digest()[:8]


def frame(header, data, length=None):
    if isinstance(header, str):
        header = header.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(header) if length is None else length) + header + data


# ---- a header as text with places to damage -------------------------------------------------------------------


class Text(str):
    """Stands in the header as it is."""


def dumps(value, blank):
    if isinstance(value, Text):
        return str(value)
    if isinstance(value, list) and any(isinstance(item, Pair) for item in value):
        value = [item for item in value if isinstance(item, Pair)]
        inside = ",".join(blank() + dumps(p.name, blank) + blank() + ":" + blank() + dumps(p.value, blank) + blank() for p in value)
        return "{" + inside + "}"
    if isinstance(value, list):
        return "[" + ",".join(blank() + dumps(item, blank) + blank() for item in value) + "]"
    if isinstance(value, dict):
        return dumps([Pair(n, v) for n, v in value.items()], blank) if value else "{}"
    return json.dumps(value, ensure_ascii=False)


class Pair:
    def __init__(self, name, value):
        self.name, self.value = name, value


def valid(r):
    entries = []
    at = 0
    names = r.sample(["a", "b", "weight", "encoder.layer.0.bias", "ü", "__proto__", "toString", "", "🤗", "x\u007f", "c d"], r.randint(0, 4))
    for name in names:
        dtype = r.choice(READ[:4] + READ if r.random() < 0.8 else list(BITS))
        shape = [r.choice([0, 1, 1, 2, 2, 3, 4]) for _ in range(r.choice([0, 1, 1, 2, 2, 3, 5]))]
        bits = BITS[dtype]
        for extent in shape:
            bits *= extent
        size = -(-bits // 8)
        entries.append(Pair(name, [Pair("dtype", dtype), Pair("shape", shape), Pair("data_offsets", [at, at + size])]))
        at += size
    if r.random() < 0.3:
        r.shuffle(entries)
    if r.random() < 0.4:
        metadata = {"format": "pt", "a\u0000b": "\u2028", "": "x"} if r.random() < 0.3 else {"format": "pt"}
        entries.insert(r.randint(0, len(entries)), Pair("__metadata__", metadata))
    return entries, bytes(r.choice([0, 1, 0x3F, 0x80, 0xFF]) for _ in range(at))


NUMBERS = [
    "0", "-0", "1", "-1", "1.0", "1e0", "1E0", "10e-1", "0.5", "01", "+1", "0x1", "1_0", "1.", ".1", "1e", "-", "1e2", "4e0",
    "4294967296", "9007199254740991", "9007199254740992", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709551616", "1e999", "1e-999", "NaN", "Infinity", "null", "true", '"1"', "[1]", "{}", "0000",
]
ODD = [
    "null", "true", "false", "0", "-1", "1.5", '""', '"F32"', "[]", "{}", "[[]]", "[null]", '{"a":1}', '{"a":null}', '"\\ud800"',
    '"\\udc00\\ud800"', '"\\ud83e\\udd17"', '"\\u0000"', '"\\x"', '"\\u12"', '"\\u00e9"', '"a\nb"', '"\u0000"', "1e999", "-1e400", "1e308",
    "-9223372036854775809", "[" * 124 + "]" * 124, "[" * 125 + "]" * 125, "[" * 126 + "]" * 126, '{"a":' * 124 + "1" + "}" * 124,
    '{"a":' * 126 + "1" + "}" * 126, "tru", "nul", "'a'", "undefined", '{"a":1,"a":2}', '"\ufeff"', "[1,]", "[,1]", '{"a"}', '{"a":}', "{a:1}",
]
NAMES = ['"x"', '"\\u0061"', '"\\ud800"', '"\\ud83e\\udd17"', '"a\\/b"', '"a\\nb"', '"\n"', '"\\u0000"', "x", "'x'", "1", "null", '"__metadata__"', '"dtype"', '"shape"', '"data_offsets"', '"d\\u0074ype"', '"Dtype"', '"b"', '"a"']


def damage(entries, data, r):
    """Changes the header in place; returns the data."""
    tensors = [p for p in entries if p.name != "__metadata__" and isinstance(p.value, list)]
    kind = r.randrange(20)
    if kind < 2 or not tensors:
        value = Text(r.choice(ODD))
        if r.random() < 0.5:
            value = {"format": value, "k": r.choice(["v", 1, None, ["a"], {}])}
        entries.insert(r.randint(0, len(entries)), Pair(r.choice(["__metadata__", "__metadata__", "new"]), value))
        return data
    pair = r.choice(tensors)
    fields = {p.name if isinstance(p.name, str) else "": p for p in pair.value if isinstance(p, Pair)}
    shape, offsets, dtype = fields.get("shape"), fields.get("data_offsets"), fields.get("dtype")
    if kind < 4 and shape and isinstance(shape.value, list):
        shape.value.insert(r.randint(0, len(shape.value)), Text(r.choice(NUMBERS)))
    elif kind < 5 and shape and isinstance(shape.value, list) and shape.value:
        at = r.randrange(len(shape.value))
        shape.value[at] = Text(str(shape.value[at]) + r.choice([".0", "e0", "E+0", "0", "", ".", " "]))
    elif kind < 7 and offsets and isinstance(offsets.value, list) and offsets.value:
        at = r.randrange(len(offsets.value))
        old = offsets.value[at]
        step = r.choice([-4, -1, 1, 4, 8])
        offsets.value[at] = old + step if isinstance(old, int) and r.random() < 0.4 else Text(r.choice(NUMBERS) if r.random() < 0.6 else f"{old}.0")
    elif kind < 8 and offsets and isinstance(offsets.value, list):
        offsets.value.insert(r.randint(0, len(offsets.value)), Text(r.choice(NUMBERS)))
    elif kind < 10 and dtype:
        dtype.value = r.choice([*BITS, "f32", "F31", "C128", "toString", "", "F32\u0000", Text('{"F32":null}'), Text('{"F32":null}'), Text('["F32"]'), Text('"F\\u00332"'), Text(r.choice(ODD))])
    elif kind < 11:
        r.shuffle(pair.value)
        if r.random() < 0.5:
            pair.value.pop()
    elif kind < 13:
        pair.value.insert(r.randint(0, len(pair.value)), Pair(Text(r.choice(NAMES)) if r.random() < 0.6 else r.choice(["dtype", "shape", "note"]), Text(r.choice(ODD))))
    elif kind < 14:
        other = r.choice(entries)
        entries.append(Pair(other.name, other.value))
    elif kind < 15:
        pair.name = Text(r.choice(NAMES))
    elif kind < 16:
        pair.value = Text(r.choice(ODD)) if r.random() < 0.5 else [p.value for p in pair.value if isinstance(p, Pair)]
    elif kind < 17:  # No elements, here or there.
        at = r.choice([0, 1, len(data), len(data) + 1, r.randint(0, len(data))])
        zero = r.choice([[0], [0, 5], [0, 18446744073709551615], [4294967296, 4294967296, 0], [0, 4294967296, 4294967296], [2**53, 0], [1] * 70 + [0], [1] * 60 + [0]])
        entries.insert(r.randint(0, len(entries)), Pair("zero", [Pair("dtype", r.choice(READ)), Pair("shape", zero), Pair("data_offsets", [at, at])]))
    elif kind < 18:  # A gap, an overlap, or the same bytes twice.
        cut = r.randint(0, 8)
        return data + bytes(cut) if r.random() < 0.5 else data[: max(0, len(data) - cut)]
    elif kind < 19 and shape and isinstance(shape.value, list):  # The same size in another shape.
        shape.value.extend([1] * r.choice([1, 2, 60, 66]))
        r.shuffle(shape.value)
    else:
        pair.value = Text(r.choice(ODD))
    return data


def case(r):
    entries, data = valid(r)
    for _ in range(r.choice([0, 0, 0, 1, 1, 1, 1, 2])):
        data = damage(entries, data, r)
    blanks = r.choice(["", " ", " \t\r\n", " \t\r\n", " \t\r\n\u000b"]) if r.random() < 0.4 else ""
    blank = lambda: r.choice(blanks) if blanks and r.random() < 0.2 else ""
    text = dumps(entries, blank) if entries else "{}"
    choice = r.random()
    if choice < 0.05:
        text = r.choice([" ", "\n", "\t", "\ufeff", "\u000b", "[", "{", '"', "//\n"]) + text
    elif choice < 0.3:
        text += r.choice([" ", "    ", "  ", "\n", "\t ", " " * 7, "\u0000", "}", ",", "{}", "\ufeff", " " * 40])
    elif choice < 0.32:
        text = text.replace(",", r.choice([",,", ";", "", ", "]), 1)
    elif choice < 0.35:
        at = r.randint(0, len(text))
        text = text[:at] + r.choice([",", "}", "]", "{", "[", '"', ":", "\\", "/**/", "\u0000", "é", "NaN", "\ud800", " "]) + text[at:]
    header = text.encode("utf-8", "surrogatepass")
    choice = r.random()
    if choice < 0.06:
        length = r.choice([0, 1, len(header) - 1, len(header) + 1, len(header) + 4, 99999999, 100000000, 100000001, 2**31, 2**32, 2**63, 2**64 - 1, 2**64 - 8])
        return frame(header, data, max(0, length))
    content = bytearray(frame(header, data))
    if choice < 0.14:
        for _ in range(r.choice([1, 1, 2, 4])):
            at = r.randrange(len(content))
            content[at] = content[at] ^ (1 << r.randrange(8)) if r.random() < 0.6 else r.choice([0, 0x20, 0x22, 0x5C, 0x7D, 0x80, 0xC0, 0xED, 0xFF])
    elif choice < 0.17:
        del content[r.randint(0, len(content)) :]
    elif choice < 0.2:
        at = r.randint(8, len(content))
        content[at : at + r.randint(0, 3)] = bytes(r.getrandbits(8) for _ in range(r.randint(0, 3)))
    return bytes(content)


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 20261126
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    output = sys.argv[3] if len(sys.argv) > 3 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "verdicts.bin.gz")
    r = random.Random(seed)
    seen = set()
    records = []
    accepted = 0
    while len(records) < count:
        content = case(r)
        if content in seen:
            continue
        seen.add(content)
        good, digest = verdict(content)
        accepted += good
        records.append(struct.pack("<IB", len(content), good) + digest + content)
    with gzip.GzipFile(output, "wb", 9, mtime=0) as file:
        file.write(b"".join(records))
    print(f"{count} files, {accepted} accepted, {os.path.getsize(output)} bytes")


main()
