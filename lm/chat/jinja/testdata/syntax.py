"""What jinja2 makes of small templates, as transformers sets it up.

    pip install transformers==5.23.0 jinja2==3.1.6
    python syntax.py > syntax.json

Each line of syntax.txt is a template; ⏎ in it is a line end, ␍ a carriage
return. The result is its text, or the class of the exception and the line that
the traceback names in the template, 0 if it names none.
"""

import datetime
import json
import pathlib
import sys
import traceback

import jinja2
import transformers
from transformers.utils import chat_template_utils

assert (jinja2.__version__, transformers.__version__) == ("3.1.6", "5.23.0")

MESSAGES = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there"}, {"role": "user", "content": ""}]
VARIABLES = {
    "n": 7,
    "x": 2.5,
    "s": "grüße 🙂",
    "yes": True,
    "nothing": None,
    "l": [3, 1, 2],
    "d": {"b": 1, "a": 2, "items": 3},
    "people": [{"name": "Bob", "age": 30}, {"name": "ann", "age": 25}, {"name": "Cid", "age": 30, "town": {"zip": [1, 2]}}],
    "tree": [{"v": 1, "c": [{"v": 2, "c": [{"v": 3}]}, {"v": 4}]}, {"v": 5}],
}


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 6, 9, 5, 3)


def line(error):
    if isinstance(error, jinja2.TemplateSyntaxError):
        return error.lineno
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename in ("<template>", "<unknown>")]
    return lines[-1] if lines else 0


def render(template):
    try:
        rendered, _ = chat_template_utils.render_jinja_template([MESSAGES], chat_template=template, **VARIABLES)
        return {"text": rendered[0]}
    except Exception as e:
        return {"class": type(e).__name__, "line": line(e), "message": str(e).split("\n")[0]}


def main():
    chat_template_utils.datetime = Clock
    lines = (pathlib.Path(__file__).parent / "syntax.txt").read_text().splitlines()
    sources = [s.replace("⏎", "\n").replace("␍", "\r") for s in lines if s and not s.startswith("## ")]
    cases = [{"source": s} | render(s) for s in sources]
    json.dump({"messages": MESSAGES, "variables": VARIABLES, "cases": cases}, sys.stdout, ensure_ascii=False, indent=0)
    print()


if __name__ == "__main__":
    main()
