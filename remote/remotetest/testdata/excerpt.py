"""Excerpts of recorded sessions with real servers, in the form that ReadRecording reads.

    python3 excerpt.py llamacpp.raw.jsonl > llamacpp.jsonl

The raw lines hold method, path, request, status and response of calls made in
November 2026 to llama.cpp's server b10434 (plain, and as a router over a folder of
models), vLLM 0.32.0 on CPU and SkyRL 0.4.0 (JAX on CPU, the tinker SDK 0.25.0's
protocol), each with a tiny random Qwen3. What no client reads (settings that are
echoed, statistics, paths of the recording machine) is left out, and so are bodies that
the recorder cut off.
"""
import base64, json, sys

LEFT_OUT = {"generation_settings", "timings", "args", "preset", "default_generation_settings", "chat_template",
            "chat_template_caps", "build_info", "ui_settings", "webui_settings", "system_fingerprint", "model_path"}
LISTS = 20  # entries that stay of a longer list below top_logprobs or top_probs


def trim(x, key=""):
    if isinstance(x, dict):
        return {k: trim(v, k) for k, v in x.items() if k not in LEFT_OUT}
    if isinstance(x, list):
        return [trim(v, key) for v in (x[:LISTS] if key.startswith("top_") else x)]
    return x


def side(out, name, raw):
    mime = raw.get(name + "_content_type") or raw.get(name + "_headers", {}).get("content-type")
    value = raw.get(name)
    coded = raw.get(name + "_base64")
    if isinstance(value, dict) and "base64" in value:
        coded = value["base64"]
        if len(base64.b64decode(coded + "=" * (-len(coded) % 4))) != value["bytes"]:
            return False
    if coded:
        out[name + "_content_type"] = mime or "application/x-protobuf"
        out[name + "_base64"] = coded
    elif value not in (None, ""):
        out[name] = trim(value) if name == "response" else value
    return True


seen = set()
for text in open(sys.argv[1]):
    raw = json.loads(text)
    path = raw["path"]
    if sys.argv[1].find("tinker") >= 0 and not path.startswith("/api/"):
        path = "/api/v1" + path
    out = {"note": raw.get("note") or None, "method": raw["method"], "path": path}
    whole = side(out, "request", raw)
    out["status"] = raw["status"]
    if raw["status"]:
        whole = side(out, "response", raw) and whole
    out = {k: v for k, v in out.items() if v is not None}
    line = json.dumps(out, ensure_ascii=False, separators=(",", ":"))
    if whole and line not in seen and len(line) < 20000:
        seen.add(line)
        print(line)
