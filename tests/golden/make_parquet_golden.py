#!/usr/bin/env python3
"""usage: make_parquet_golden.py: writes parquet/: small Parquet files and, for most, the same records as JSON lines, as
pyarrow reads them. Needs pyarrow."""
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parquet")


def put(name, table, lines=True, **how):
    os.makedirs(HERE, exist_ok=True)
    path = os.path.join(HERE, name + ".parquet")
    pq.write_table(table, path, **how)
    if lines:
        with open(os.path.join(HERE, name + ".jsonl"), "w") as f:
            for record in pq.read_table(path).to_pylist(maps_as_pydicts="strict"):
                f.write(json.dumps(record, ensure_ascii=False) + "\n")


def turns(*texts):
    return [{"role": "assistant" if i % 2 else "user", "content": t} for i, t in enumerate(texts)]


# Conversations as list<struct>, with nulls, in row groups of two, Zstandard.
message = pa.struct([("role", pa.string()), ("content", pa.large_string()), ("weight", pa.int8())])
put("chat", pa.table({
    "messages": pa.array([turns("a", "b"), turns("c\n\"d\"", "\u00e9\u4e2d\U0001f600"),
                          turns("e", "f", "g", "h")[:3] + [{"role": "assistant", "content": "h", "weight": 0}],
                          turns("i", "j"), turns("k", "l")], pa.list_(message)),
    "id": pa.array([1, None, 3, 4, 5], pa.uint16())}), row_group_size=2, compression="zstd")

# Strings as a dictionary, also in Arrow's schema; Snappy; an input that is null.
put("alpaca", pa.table({
    "instruction": pa.array(["i", "j", "i", "j"]).dictionary_encode(),
    "input": pa.array(["n", None, "", "n"], pa.string_view()),
    "output": pa.array(["o", "p", "q", "o"], pa.large_string()).dictionary_encode()}), compression="snappy")

# Labels, gzip, data pages of version 2 with other encodings.
put("labels", pa.table({
    "text": [f"text {i} " + "ab" * (i % 5) for i in range(40)], "label": pa.array([i % 3 for i in range(40)], pa.int32()),
    "score": pa.array([i / 7 for i in range(40)], pa.float64())}), compression="gzip", data_page_version="2.0",
    use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY", "label": "DELTA_BINARY_PACKED",
                                           "score": "BYTE_STREAM_SPLIT"})

# Structs in structs, maps, lists of lists, fixed lists, every kind of number.
put("nested", pa.table({
    "in": pa.array([{"q": "a", "out": {"best": "b", "all": [["b"], [], None]}}, {"q": "c", "out": {"best": "d", "all": None}}],
                   pa.struct([("q", pa.string()), ("out", pa.struct([("best", pa.string()),
                                                                       ("all", pa.list_(pa.list_(pa.string())))]))])),
    "map": pa.array([[("x", 1), ("y", None)], []], pa.map_(pa.string(), pa.int64())),
    "pair": pa.array([[1, 2], [3, None]], pa.list_(pa.int16(), 2)),
    "large": pa.array([["a"], None], pa.large_list(pa.string())),
    "numbers": pa.array([{"a": -128, "b": 2**64 - 1, "c": 0.1, "d": 1e16, "e": -0.0, "f": True},
                         {"a": None, "b": 0, "c": float("inf"), "d": 5e-324, "e": 3.0, "f": False}],
                        pa.struct([("a", pa.int8()), ("b", pa.uint64()), ("c", pa.float32()), ("d", pa.float64()),
                                   ("e", pa.float16()), ("f", pa.bool_())])),
    "none": pa.nulls(2)}))

# Types that are not read.
put("unread", pa.table({
    "prompt": ["a", "b", "c"], "completion": ["d", "e", "f"],
    "when": pa.array([0, None, 1], pa.timestamp("us")), "image": pa.array([{"bytes": b"\xff"}, {"bytes": b""}, None]),
    "price": pa.array([None, None, None], pa.decimal128(9, 2))}), lines=False)
put("bytes", pa.table({"text": pa.array([b"a", b"b"])}), lines=False)
