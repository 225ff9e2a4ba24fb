"""
Small row files and what the `datasets` package makes of them: the rows, or that it fails.

    python make.py > files.json        (datasets 5.0.1, pyarrow 26.0.1, pandas 3.1.1)

Each file is loaded as FlagEmbedding loads it, in a process of its own, because some of them end the process.
Numbers that JSON does not have are written as texts.
"""
import base64
import json
import logging
import math
import os
import sys
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")
import datasets  # noqa: E402

datasets.disable_progress_bars()
logging.disable(logging.CRITICAL)
CACHE = tempfile.mkdtemp()

A = b'{"query":"a","pos":["p"],"neg":["n"]}'
B = b'{"query":"b","pos":["p2"],"neg":["n2"]}'
PRETTY = b'{\n  "query": "a",\n  "pos": [\n    "p"\n  ],\n  "neg": ["n"]\n}'
BOM = b"\xef\xbb\xbf"


def scored(score):
    return b'{"query":"a","pos":["p"],"neg":["n"],"pos_scores":[' + score + b'],"neg_scores":[1.5]}'


def query(text):
    return b'{"query":"' + text + b'","pos":["p"],"neg":["n"]}\n' + B


def with_field(field):
    return A[:-1] + b"," + field + b"}\n" + B


FILES = {
    # one object a line, and between lines
    "lines": A + b"\n" + B + b"\n",
    "no final line feed": A + b"\n" + B,
    "CRLF": A + b"\r\n" + B + b"\r\n",
    "CR": A + b"\r" + B + b"\r",
    "blank lines": b"\n\n" + A + b"\n\n  \n\t\n" + B + b"\n\n",
    "leading spaces": b"  " + A + b"\n\t" + B,
    # several on one, one over several
    "unseparated": A + B,
    "separated by a blank": A + b" " + B,
    "separated by a tab": A + b"\t" + B + A,
    "pretty": PRETTY + b"\n" + PRETTY + b"\n",
    "one pretty object": PRETTY,
    "pretty, unseparated": PRETTY + PRETTY,
    "pretty with CR": PRETTY.replace(b"\n", b"\r") + b"\r" + PRETTY,
    "pretty with CRLF": PRETTY.replace(b"\n", b"\r\n") + b"\r\n" + PRETTY,
    "lines and pretty": A + b"\n" + PRETTY + b"\n" + B,
    "broken after the colon": b'{"query":\n"a","pos":["p"],"neg":["n"]}\n' + B,
    # lists
    "list": b"[" + A + b"," + B + b"]",
    "list over lines": b"[\n" + A + b",\n" + B + b"\n]\n",
    "list of pretty": b"[\n" + PRETTY + b",\n" + PRETTY + b"]",
    "list after a mark": BOM + b"[" + A + b"," + B + b"]",
    "list after a blank": b" [" + A + b"," + B + b"]",
    "list after a line feed": b"\n[" + A + b"]",
    "empty list": b"[]",
    "list, comma at the end": b"[" + A + b"," + B + b",]",
    "list, no end": b"[" + A + b"," + B,
    "list, no comma": b"[" + A + b"\n" + B + b"]",
    "list, two commas": b"[" + A + b",," + B + b"]",
    "two lists": b"[" + A + b"]\n[" + B + b"]",
    "list, then an object": b"[" + A + b"]" + B,
    "object, then a list": A + b"\n[" + B + b"]",
    "list that begins with null": b"[null," + A + b"]",
    "list of a list": b"[[" + A + b"]]",
    "list of numbers": b"[1,2]",
    "list of texts": b'["a","b"]',
    "list with a number": b"[" + A + b",1]",
    "list with NaN": b"[" + scored(b"NaN") + b"," + A + b"]",
    # marks and encodings
    "mark": BOM + A + b"\n" + B,
    "two marks": BOM + BOM + A,
    "mark in the midst": A + b"\n" + BOM + B,
    "Latin-1": '{"query":"ä","pos":["p"],"neg":["n"]}'.encode("latin1") + b"\n" + B,
    "UTF-16": '{"query":"ä","pos":["p"],"neg":["n"]}'.encode("utf-16"),
    "overlong": query(b"\xc0\xaf"),
    "surrogate in UTF-8": query(b"\xed\xa0\x80"),
    # numbers
    "NaN": scored(b"NaN"),
    "-NaN": scored(b"-NaN"),
    "Infinity": scored(b"Infinity"),
    "-Infinity": scored(b"-Infinity"),
    "Inf": scored(b"Inf"),
    "nan": scored(b"nan"),
    "NaN, then a number": scored(b"NaN") + b"\n" + scored(b"1"),
    "1e39": scored(b"1e39"),
    "1e-400": scored(b"1e-400"),
    "integer": scored(b"3"),
    "integer, then a fraction": scored(b"3") + b"\n" + scored(b"1.5"),
    "1E+5": scored(b"1E+5"),
    "20 digits": scored(b"12345678901234567890"),
    "+1": scored(b"+1") + b"\n" + A,
    ".5": scored(b".5") + b"\n" + A,
    "5.": scored(b"5.") + b"\n" + A,
    "01": scored(b"01") + b"\n" + A,
    "0x10": scored(b"0x10") + b"\n" + A,
    "1e": scored(b"1e") + b"\n" + A,
    # texts
    "escapes": query(rb"a\/b\u00e9\n\t\"\\\b\f\r"),
    "surrogate pair": query(rb"a\ud83d\ude00b"),
    "NUL escaped": query(rb"a\u0000b"),
    "first half of a pair": query(rb"a\ud83db"),
    "second half of a pair": query(rb"a\ude00b"),
    "unknown escape": query(rb"a\xb"),
    "escaped apostrophe": query(rb"a\'b"),
    "short escape": query(rb"a\u12"),
    "tab in a text": query(b"a\tb"),
    "line feed in a text": query(b"a\nb"),
    "NUL in a text": query(b"a\x00b"),
    "escape character in a text": query(b"a\x1b[31mb"),
    "empty query": query(b""),
    "empty passages": b'{"query":"a","pos":[""],"neg":[""]}\n' + B,
    "escaped name": rb'{"qu\u0065ry":"a","pos":["p"],"neg":["n"]}' + b"\n" + B,
    # what is no JSON
    "comma between": A + b"," + B,
    "comma at the end of a line": A + b",\n" + B,
    "comment": A + b" // x\n" + B,
    "comment before": b"/* x */" + A,
    "single quotes": b"{'query':'a','pos':['p'],'neg':['n']}",
    "bare names": b'{query:"a",pos:["p"],neg:["n"]}',
    "comma before a bracket": b'{"query":"a","pos":["p",],"neg":["n"]}\n' + B,
    "comma before a brace": b'{"query":"a","pos":["p"],"neg":["n"],}\n' + B,
    "equals sign": b'{"query"="a","pos":["p"],"neg":["n"]}',
    "no commas": b'{"query":"a" "pos":["p"] "neg":["n"]}',
    "cut off": A + b"\n" + B[:-3],
    "no last brace": A[:-1],
    "a brace too many": A + b"}\n" + B,
    "wrong bracket": b'{"query":"a","pos":["p"},"neg":["n"]}\n' + B,
    "no brace between": A[:-1] + b"\n" + B,
    "no quote": b'{"query":"a,"pos":["p"],"neg":["n"]}\n' + B,
    "words after": A + b"\nxxx",
    "words beside": A + b" xxx\n" + B,
    "NUL between": A + b"\x00\n" + B,
    "NULs at the end": A + b"\n\x00\x00",
    "form feed between": A + b"\x0c" + B,
    "no-break space between": A + b"\xc2\xa0" + B,
    "line separator between": A + b"\xe2\x80\xa8" + B,
    "name twice": b'{"query":"x","query":"a","pos":["p"],"neg":["n"]}\n' + B,
    "nesting of 200": with_field(b'"x":' + b"[" * 200 + b"]" * 200),
    "nesting of 20000": with_field(b'"x":' + b"[" * 20000 + b"]" * 20000),
    "number": b"1",
    "text": b'"a"',
    "number after an object": A + b"\n1",
    "list after an object": A + b"\n[1]",
    "null first": b"null\n" + A,
    "nothing": b"",
    "line feed only": b"\n",
    "blanks only": b"   ",
    "AppleDouble": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n",
    "web page": b"<!DOCTYPE html>\n<html></html>",
    # other fields
    "inherited names": with_field(b'"__proto__":{"a":1},"constructor":1,"toString":null'),
    "row in __proto__": b'{"__proto__":{"query":"x"},"query":"a","pos":["p"],"neg":["n"]}\n' + B,
    "empty name": with_field(b'"":1'),
    "other columns": with_field(b'"id":7,"meta":{"query":"z","tags":["x"]}'),
    "names as values": b'{"query":"query","pos":["pos","neg"],"neg":["query"]}\n' + B,
}


def plain(value):
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if item is not None}
    return value


def load(path):
    try:
        table = datasets.load_dataset("json", data_files=path, split="train", cache_dir=CACHE)
        return [plain(table[i]) for i in range(len(table))]
    except Exception:
        return None


def apart(path):
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(sink, "w") as out:
            json.dump(load(path), out)
        os._exit(0)
    os.close(sink)
    with os.fdopen(source) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


results = []
for name, content in FILES.items():
    path = os.path.join(CACHE, "x.jsonl")
    with open(path, "wb") as file:
        file.write(content)
    results.append({"name": name, "bytes": base64.b64encode(content).decode(), "rows": apart(path)})
print("[\n" + ",\n".join(json.dumps(entry) for entry in results) + "\n]")
