"""What transformers makes of whole chat templates, with and without tools.

    pip install transformers==5.23.0 jinja2==3.1.6
    python templates.py templates > templates.json      # the committed file
    python templates.py DIR … > /tmp/cases.json         # other templates, to compare with
    JINJA_CASES=/tmp/cases.json go test -run TestTemplates -v ..

A DIR is searched for *.jinja. The templates that llama.cpp ships are worth
comparing with: they are in vendor/llama.cpp/models/templates of the source
distribution of llama-cpp-python 0.3.36. So are those that TRL 1.16 carries, in
trl/chat_templates of its wheel.

Every template renders every conversation, with tools and without, under several
settings, with special tokens and without. A result is the text and the ranges
of {% generation %} in characters, or the class of the exception and the line in
the template, 0 if the traceback names none.
"""

import json
import pathlib
import sys

import jinja2
import transformers
from syntax import Clock, line
from transformers.utils import chat_template_utils

assert (jinja2.__version__, transformers.__version__) == ("3.1.6", "5.23.0")

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather of a \"city\".",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "The city, e.g. Köln"},
                    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                    "days": {"type": ["integer", "null"], "description": "How many days <b>ahead</b>", "minimum": 0},
                    "places": {"type": "array", "items": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}},
                },
                "required": ["city"],
            },
            "return": {"type": "string", "description": "The weather"},
        },
    },
    {"type": "function", "function": {"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}}},
]
DOCUMENTS = [{"title": "Cats", "text": "Cats purr."}, {"title": "Dogs", "text": "Dogs bark.\nLoudly."}]


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def call(name, arguments, id="abcdefghi"):
    return {"type": "function", "id": id, "function": {"name": name, "arguments": arguments}}


WEATHER = {"city": "Köln", "days": 2, "places": [{"lat": 1.5}], "now": True, "note": None}
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "{\"sky\": \"grey\"}"}
CONVERSATIONS = {
    "user": [user("Hello")],
    "system": [system("Be brief."), user("Hello")],
    "turns": [user("Hello"), assistant("Hi there!"), user("Bye")],
    "answered": [system("  Be brief.\n"), user(" 2+2? "), assistant("\n\n4 ")],
    "empty": [system(""), user(""), assistant(""), user("")],
    "empty answer": [user("q"), assistant("")],
    "unicode": [system("Réponds en 日本語 🙂"), user("नमस्ते — „Grüße“ \u200d👩\u200d💻\u0301"), assistant("مرحبا\u2028\u0085x"), user("\x1c\ttab\x1f")],
    "special": [user("<|im_end|>\n<|im_start|>system\n<|eot_id|></s>[INST] {{ bos_token }} {% if %}"), assistant("<s> & \"quoted\" <b>"), user("\\n \\ ' \"")],
    "thinking": [user("q1"), assistant("<think>\nlong\nthought\n</think>\n\na1"), user("q2"), assistant("<think>\n\nwhy\n\n</think>\n\n\na2\n")],
    "reasoning": [user("q1"), assistant("a1", reasoning_content="I thought."), user("q2"), assistant("a2", reasoning="\nmore\n"), user("q3")],
    "thinking field": [user("q1"), assistant("a1", thinking="I thought.")],
    "late system": [user("a"), system("now brief"), user("b")],
    "two systems": [system("a"), system("b"), user("c")],
    "system only": [system("Be brief.")],
    "assistant first": [assistant("hello"), user("hi")],
    "two users": [user("a"), user("b")],
    "two answers": [user("q"), assistant("plain"), assistant("<think>t</think>x"), assistant("\nlast")],
    "developer": [{"role": "developer", "content": "Be kind."}, user("q")],
    "call": [user("Weather?"), assistant(None, tool_calls=[call("get_weather", WEATHER)])],
    "call without content": [user("Weather?"), {"role": "assistant", "tool_calls": [call("get_weather", WEATHER)]}, RESULT],
    "call with text": [system("s"), user("Weather?"), assistant("Let me see.", tool_calls=[call("get_weather", WEATHER)]), RESULT, assistant("Grey."), user("Thanks")],
    "call with string": [user("Weather?"), assistant("", tool_calls=[call("get_weather", json.dumps(WEATHER))]), RESULT],
    "bare call": [user("Weather?"), assistant("", tool_calls=[{"name": "get_weather", "arguments": {"city": "x"}}]), {"role": "tool", "content": "5"}],
    "two calls": [user("Both?"), assistant("", tool_calls=[call("get_weather", {"city": "a"}, "aaaaaaaaa"), call("now", {}, "bbbbbbbbb")]),
                  {"role": "tool", "name": "get_weather", "tool_call_id": "aaaaaaaaa", "content": "1"},
                  {"role": "tool", "name": "now", "tool_call_id": "bbbbbbbbb", "content": "2"}, assistant("Done.")],
    "thoughtful call": [user("q"), assistant("", reasoning_content="Need it.", tool_calls=[call("now", {})]), RESULT, assistant("<think>so</think>ok"), user("more")],
    "result as parts": [user("q"), assistant("", tool_calls=[call("now", {})]), RESULT | {"content": [{"type": "text", "text": "noon"}]}],
    "result as dict": [user("q"), assistant("", tool_calls=[call("now", {})]), RESULT | {"content": {"hour": 12}}],
    "parts": [{"role": "system", "content": [{"type": "text", "text": "s"}]}, {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
    "image": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what?"}]}, assistant("a cat")],
    "null": [user(None)],
    "no content": [{"role": "user"}],
    "ipython": [user("q"), assistant("run"), {"role": "ipython", "content": {"out": 1}}],
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
SETTINGS = [
    TOKENS | {"add_generation_prompt": True},
    TOKENS,
    {"add_generation_prompt": True},
    TOKENS | {"add_generation_prompt": True, "enable_thinking": False, "thinking": False},
    TOKENS | {"add_generation_prompt": True, "enable_thinking": True, "thinking": True, "date_string": "01 Jan 2030", "preserve_thinking": True},
]


def render(source, messages, **kwargs):
    ranged = "generation %}" in source or "generation -%}" in source
    try:
        texts, ranges = chat_template_utils.render_jinja_template(
            [messages], chat_template=source, return_assistant_tokens_mask=ranged, **kwargs
        )
        return {"text": texts[0]} | ({"ranges": ranges[0]} if ranged else {})
    except Exception as e:
        return {"class": type(e).__name__, "line": line(e), "message": str(e).split("\n")[0]}


def main():
    chat_template_utils.datetime = Clock
    paths = sorted(p for d in sys.argv[1:] for p in pathlib.Path(d).rglob("*.jinja"))
    templates = {str(p): p.read_text() for p in paths}
    cases = []
    for name, source in templates.items():
        for conversation, messages in CONVERSATIONS.items():
            for tools in (None, TOOLS):
                for setting, variables in enumerate(SETTINGS):
                    result = render(source, messages, tools=tools, documents=DOCUMENTS if setting == 4 else None, **variables)
                    cases.append({"template": name, "conversation": conversation, "tools": tools is not None, "setting": setting} | result)
    out = {"templates": templates, "conversations": CONVERSATIONS, "tools": TOOLS, "documents": DOCUMENTS, "settings": SETTINGS, "cases": cases}
    json.dump(out, sys.stdout, ensure_ascii=False, indent=0)
    print()


main()
