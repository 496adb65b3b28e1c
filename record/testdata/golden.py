"""Reads the event files of testdata/resumed with TensorBoard's own code and
writes what it finds to resumed.json, which the Go tests compare with what was
recorded.

    go test ./record -run TestEventFiles -update    # only if the files change
    python3 -m venv venv && venv/bin/pip install tensorboard==2.21.0
    (cd record/testdata && ../../venv/bin/python golden.py)

Three of its readers must agree: EventAccumulator, which scripts use, the
accumulator of its server, and its fast data server in Rust. Only the latter two
drop the texts of an interrupted process, so the texts are theirs.
"""

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import tensorboard
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.util import tensor_util

assert tensorboard.__version__ == "2.21.0", tensorboard.__version__

PORT = 6789


def number(v):
    v = float(v)
    return v if abs(v) < float("inf") else str(v)


def from_accumulators(path):
    a = event_accumulator.EventAccumulator(path, size_guidance={"scalars": 0})
    a.Reload()
    scalars = {
        tag: [{"step": e.step, "value": number(e.value)} for e in a.Scalars(tag)]
        for tag in sorted(a.Tags()["scalars"])
    }
    p = plugin_event_accumulator.EventAccumulator(path, size_guidance={"tensors": 0})
    p.Reload()
    again, texts = {}, {}
    for tag in sorted(p.Tags()["tensors"]):
        plugin = p.SummaryMetadata(tag).plugin_data.plugin_name
        values = [(e.step, tensor_util.make_ndarray(e.tensor_proto).item()) for e in p.Tensors(tag)]
        if plugin == "text":
            texts[tag] = [{"step": s, "text": v.decode("utf-8")} for s, v in values]
        else:
            assert plugin == "scalars", plugin
            again[tag] = [{"step": s, "value": number(v)} for s, v in values]
    assert scalars == again, (scalars, again)
    return scalars, texts


def get(route, **query):
    url = f"http://127.0.0.1:{PORT}/data/plugin/{route}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url) as r:
        return json.load(r)


def check_server(scalars, texts):
    """Compares with what a running TensorBoard with the fast data server shows."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", "resumed", "--load_fast", "true",
         "--host", "127.0.0.1", "--port", str(PORT)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(60):
            time.sleep(1)
            try:
                if sum(map(len, get("scalars/tags").values())) == len(scalars):
                    break
            except OSError:
                pass
        time.sleep(2)
        for tag, want in scalars.items():
            got = [{"step": s, "value": v} for _, s, v in get("scalars/scalars", run=".", tag=tag)]
            strings = {"NaN": "nan", "Infinity": "inf"}
            got = [{**p, "value": number(strings.get(p["value"], p["value"]))} for p in got]
            assert got == want, (tag, got, want)
        for tag, want in texts.items():
            got = get("text/text", run=".", tag=tag, markdown="true")
            assert [p["step"] for p in got] == [p["step"] for p in want], got
            for p in got:
                assert p["text"].startswith("<pre><code>step"), p
                assert "&lt;b&gt;" in p["text"] and "<h1>" not in p["text"], p
    finally:
        server.terminate()
        server.wait()


scalars, texts = from_accumulators("resumed")
check_server(scalars, texts)
with open("resumed.json", "w", encoding="utf-8") as f:
    json.dump({"scalars": scalars, "texts": texts}, f, indent=1, ensure_ascii=False, sort_keys=True)
    f.write("\n")
