"""Times with numpy and pytrec_eval what BenchmarkPosIR of lm/local times: cosines of
1,300 queries with 60,000 documents of 384 dimensions, the 1,000 best, nDCG@10.

    pip install numpy==2.4.6 pytrec-eval-terrier==0.5.11
    python search.py
"""

import resource
import time

import numpy as np
import pytrec_eval

DOCUMENTS, QUERIES, DIM, DEPTH = 60_000, 1300, 384, 1000
rng = np.random.default_rng(1)
queries = rng.standard_normal((QUERIES, DIM), dtype=np.float32)
documents = rng.standard_normal((DOCUMENTS, DIM), dtype=np.float32)
documents[:QUERIES] += 0.25 * queries
names = [f"d{i}" for i in range(DOCUMENTS)]
qrel = {f"q{i}": {f"d{i}": 1} for i in range(QUERIES)}

begin = time.perf_counter()
queries /= np.linalg.norm(queries, axis=1, keepdims=True)
documents /= np.linalg.norm(documents, axis=1, keepdims=True)
scores = queries @ documents.T
product = time.perf_counter()
best = np.argpartition(scores, -DEPTH, axis=1)[:, -DEPTH:]
top = time.perf_counter()
run = {f"q{q}": {names[d]: float(scores[q, d]) for d in best[q]} for q in range(QUERIES)}
values = pytrec_eval.RelevanceEvaluator(qrel, {"ndcg_cut.10"}).evaluate(run)
end = time.perf_counter()
print(f"product {product - begin:.2f} s, best {top - product:.2f} s, pytrec_eval {end - top:.2f} s, all {end - begin:.2f} s,",
      f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most,",
      f"nDCG@10 {np.mean([v['ndcg_cut_10'] for v in values.values()]):.4f}")
