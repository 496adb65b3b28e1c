"""Writes folders in PosIR's layout: parquet/ as pyarrow writes the benchmark's files,
and jsonl/ with the same rows.

Run in this folder: pip install pyarrow==26.0.1 && python golden.py
"""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq

queries = [
    {"_id": "q1", "text": "où est la réponse ?", "pos_char_span": [3, 9], "pos_char_length": 25, "pos_token_length": 8},
    {"_id": "q2", "text": "答案在哪里", "pos_char_span": [0, 4], "pos_char_length": 9, "pos_token_length": 9},
]
corpus = [{"_id": f"d{i}", "text": t} for i, t in enumerate(["La réponse est au milieu.", "答案在开头，不在后面", *["filler " * 40] * 200])]
qrels = [{"query-id": q, "corpus-id": d, "score": 1} for q, d in [("surplus", "d0"), ("q1", "d0"), ("q2", "d1"), ("other", "gone")]]

os.makedirs("parquet/qrels", exist_ok=True)
os.makedirs("jsonl/qrels", exist_ok=True)
for name, rows in {"queries": queries, "corpus": corpus, "qrels/test": qrels}.items():
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, f"parquet/{name}.parquet", row_group_size=90)
    with open(f"jsonl/{name}.jsonl", "w") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
