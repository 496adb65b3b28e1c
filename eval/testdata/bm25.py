"""BM25 of random documents by bm25s (method "lucene", which leaves out the factor k1+1).

python3 -m venv venv && venv/bin/pip install bm25s==0.2.14 numpy==2.4.6
(cd eval/testdata && ../../venv/bin/python bm25.py)
"""
import json, random
import bm25s

random.seed(5)
letters = "abcdefghij"
documents = [[random.choice(letters[: random.randint(2, 10)]) for _ in range(random.randint(1, 30))] for _ in range(12)]
queries = [["a"], ["a", "b"], ["j", "a", "j"], ["c", "d", "e", "z"]]
cases = []
for k1, b in ((1.2, 0.75), (0.9, 0.4), (2.0, 0.0), (1.5, 1.0)):
    model = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")
    model.index(documents, show_progress=False)
    # bm25s knows no term that no document has; such a term adds nothing.
    known = [[t for t in q if any(t in d for d in documents)] for q in queries]
    scores = [sum(model.get_scores([t]) for t in q).tolist() for q in known]
    cases.append(dict(k1=k1, b=b, scores=scores))
json.dump(dict(documents=documents, queries=queries, cases=cases), open("bm25.json", "w"))
