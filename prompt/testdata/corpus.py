"""Parses the completions of the corpora by the package's documented rules
alone, and compares with the traces that the Go parser left there.

corpus.jsonl.gz holds 1,000 completions that half-trained models wrote at
temperature 1.5; mutated-tagged.jsonl.gz and mutated-boxed.jsonl.gz hold 200
each that this script cut up and glued, half from those and half from
well-formed ones. To make them anew, with Python
3.11 and its standard library alone (another version may mutate differently):

    (cd relevance && go test . -run TestWriteCorpus -write-corpus ../prompt/testdata/corpus.jsonl.gz)
    python3 prompt/testdata/corpus.py mutate
    go test ./prompt -run TestCorpus -update
    python3 prompt/testdata/corpus.py check

The last command prints what the two parsers disagree on, fails if there is
anything, and counts the statuses. It compares all of a trace but the wording
of its problems: of them, only whether there are any.
"""

import argparse
import base64
import bisect
import collections
import gzip
import itertools
import json
import pathlib
import random
import re
import sys

HERE = pathlib.Path(__file__).parent
CORPUS = HERE / "corpus.jsonl.gz"
MUTATED = {s: HERE / f"mutated-{s}.jsonl.gz" for s in ("tagged", "boxed")}

# What Unicode calls white space.
SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
BOX = b"\\boxed{"
TAG = re.compile(rb'<step name="([^"<>]*)">|</step>')


def escape(name):
    for char, written in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;")):
        name = name.replace(char, written)
    return name.encode()


def shown(data):
    """The text of bytes, with U+FFFD for every byte that is not UTF-8."""
    return re.sub("[\udc80-\udcff]", "\ufffd", data.decode(errors="surrogateescape"))


def trim(text, start, end):
    """The range without white space at its ends."""
    s = text[start:end].decode(errors="surrogateescape")
    size = lambda s: len(s.encode(errors="surrogateescape"))
    left = s.lstrip(SPACE)
    start += size(s) - size(left)
    return start, start + size(left.rstrip(SPACE))


def boxes(text, start, end):
    """The boxes in a range, each as (box start, inner start, inner end); the
    inner end is None if the box is never closed, and then it is the last."""
    found = []
    while (at := text.find(BOX, start, end)) >= 0:
        inner = start = at + len(BOX)
        depth = 1
        # A backslash and the byte behind it are one piece, never a brace.
        for piece in re.compile(rb"\\.|.", re.S).finditer(text, inner, end):
            depth += {b"{": 1, b"}": -1}.get(piece[0], 0)
            start = piece.end()
            if not depth:
                break
        found.append((at, inner, None if depth else start - 1))
    return found


class Step:
    """An occurrence of a step: where it lies, whether it is closed, and which
    boxes it holds."""

    def __init__(self, name, start, end, closed, boxes):
        self.name, self.start, self.end, self.closed, self.boxes = name, start, end, closed, boxes


def tagged(text, _):
    """The steps in the order of the text, and whether a closing tag strays."""
    steps, stray = [], False
    name = start = body = None

    def end_step(inner, end, closed):
        steps.append(Step(name, start, end, closed, boxes(text, body, inner)))

    for tag in TAG.finditer(text):
        opens = tag[1] is not None
        if start is None and not opens:
            stray = True
        if start is not None:
            end_step(tag.start(), tag.start() if opens else tag.end(), not opens)
            start = None
        if opens:
            name, start, body = tag[1], tag.start(), tag.end()
    if start is not None:
        end_step(len(text), len(text), False)
    return steps, stray


def boxed(text, specs):
    steps, at = [], 0
    name = lambda: escape(specs[len(steps)]["name"]) if len(steps) < len(specs) else b""
    for box in boxes(text, 0, len(text)):
        end = len(text) if box[2] is None else box[2] + 1
        steps.append(Step(name(), at, end, box[2] is not None, [box]))
        at = end
    left, right = trim(text, at, len(text))
    if len(steps) < len(specs) and left < right:
        steps.append(Step(name(), at, len(text), False, []))
    return steps, False


class Tokens:
    def __init__(self, ends):
        self.ends, self.starts = ends, [0, *ends][: len(ends)]

    def beginning(self, start, end):
        """The tokens whose first byte, or next byte, lies in the range."""
        return [bisect.bisect_left(self.starts, at) for at in (start, end)]

    def holding(self, start, end):
        """The tokens that hold a byte of the range; none, there, if it is empty."""
        if start == end:
            return self.beginning(start, end)
        held = [i for i, (s, e) in enumerate(zip(self.starts, self.ends)) if s < e and s < end and e > start]
        return [held[0], held[-1] + 1]


def between(start_end):
    return dict(zip(("start", "end"), start_end))


def span(text, tokens, name, index, step, status, allowed):
    """The span of a step that occurs; status is what is known before its
    closing and its answer are looked at."""
    closed = [b for b in step.boxes if b[2] is not None]
    answer = trim(text, *closed[-1][1:]) if closed else (step.end, step.end)
    of_answer = tokens.holding(*answer)
    said = text[slice(*answer)]
    if status not in ("duplicate", "surplus"):
        if not step.closed:
            status = "truncated"
        elif status == "ok" and (len(step.boxes) != 1 or not said or (allowed and said not in allowed)):
            status = "invalid answer"
    exact = {} if said == shown(said).encode() else {"answer_base64": base64.b64encode(said).decode()}
    if status == "surplus" and step.name != name.encode():
        exact["name_base64"] = base64.b64encode(step.name).decode()
    return exact | {
        "name": name,
        "index": index,
        "bytes": between((step.start, step.end)),
        "tokens": between(tokens.beginning(step.start, step.end)),
        "answer": shown(said),
        "answer_bytes": between(answer),
        "answer_tokens": between(of_answer),
        "status": status,
    }


def parse(syntax, specs, text, ends):
    """The trace of a completion, and whether anything is wrong with it."""
    found, stray = {"tagged": tagged, "boxed": boxed}[syntax](text, specs)
    tokens = Tokens(ends)
    names = [escape(s["name"]) for s in specs]
    allowed = [[a.encode() for a in s.get("answers") or []] for s in specs]
    first, extra = {}, []
    for step in found:
        k = names.index(step.name) if step.name in names else -1
        if k < 0:
            extra.append(span(text, tokens, shown(step.name), -1, step, "surplus", []))
        elif k in first:
            extra.append(span(text, tokens, specs[k]["name"], k, step, "duplicate", allowed[k]))
        else:
            first[k] = step
    steps = []
    for k, spec in enumerate(specs):
        if k in first:
            late = any(j < k and first[j].start > first[k].start for j in first)
            steps.append(span(text, tokens, spec["name"], k, first[k], "out of order" if late else "ok", allowed[k]))
            continue
        place = next((first[j].start for j in range(k, len(specs)) if j in first), len(text))
        nothing = Step(b"", place, place, True, [])
        steps.append(span(text, tokens, spec["name"], k, nothing, "missing", []))
    trace = {"tokens": len(tokens.ends), "steps": steps, "final": len(specs) - 1}
    if extra:
        trace["extra"] = extra
    return trace, stray or bool(extra) or any(s["status"] != "ok" for s in steps)


def read(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        header, *lines = map(json.loads, f)
    return header, lines


def completion(line):
    """The text of a line, and where its tokens end."""
    tokens = [t.encode("latin-1") for t in line["tokens"]]
    return b"".join(tokens), list(itertools.accumulate(map(len, tokens)))


def differences(place, a, b):
    """The places where two JSON values differ, with what each holds there."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [d for key in a for d in differences(f"{place}.{key}", a[key], b[key])]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [d for i, pair in enumerate(zip(a, b)) for d in differences(f"{place}[{i}]", *pair)]
    return [] if a == b else [(place, a, b)]


def check(path):
    header, lines = read(path)
    statuses, kinds, wrong = collections.Counter(), collections.Counter(), 0
    for n, line in enumerate(lines, 2):
        got = line["trace"]
        problems = got.pop("problems", [])
        text, ends = completion(line)
        want, malformed = parse(header["syntax"], header["steps"], text, ends)
        if got != want or bool(problems) != malformed:
            wrong += 1
            print(f"{path.name} line {n}: {text!r}\n  problems {problems}")
            for place, here, there in differences("trace", want, got):
                print(f"  {place}: here {here}, in Go {there}")
        statuses.update(s["status"] for s in want["steps"] + want.get("extra", []))
        kinds["malformed" if malformed else "well-formed"] += 1
    print(f"{path.name}: {len(lines)} completions, {dict(kinds)}, steps {dict(statuses.most_common())}, {wrong} disagreements")
    return wrong


# What mutations insert: pieces of the format, near misses, odd white space and
# bytes that are not UTF-8.
PIECES = [
    b"</step>", b"</step >", b"<step>", b'<step name="', b'">', b'<step name="">', b'<step name="rules">',
    b'<step name="a<b">', b'<step name="a>b">', b'<step name="a&b">', b'<step name="\xff">', b'<step  name="label">',
    b"<step name='label'>", b'<step name="label" >', b"<", b">", b'"', b"&", b"\n", b"\\boxed", b"\\boxed{", b"\\boxed{}",
    b"\\boxed{ \xc2\xa0}", b"\\boxed{\x1c1}", b"\\boxed{{same}}", b"\\boxed{\\boxed{3}}", b"\\boxed{\xe2\x80\x833\xc2\x85}",
    b"\\boxed{\xff}", b"\\boxed{\\}}", b"{", b"}", b"\\", b" ", b"\x00", b"\xff", b"\xe2\x82", b"\xe6\x97\xa5",
]


def rename(syntax, header, text):
    """The completion for steps that try the syntax harder: a name that must be
    escaped, and a step that allows any answer."""
    if syntax == "boxed":
        return TAG.sub(b"", text)
    return text.replace(b'name="attribute"', b'name="' + escape(header["steps"][1]["name"]) + b'"')


def well_formed(r, syntax, specs):
    steps = []
    for s in specs:
        step = b"so \\boxed{%s}" % r.choice(s.get("answers") or ["any {thing}"]).encode()
        steps.append(b'<step name="%s">%s</step>' % (escape(s["name"]), step) if syntax == "tagged" else step)
    return b"\n".join(steps)


def mutated(r, text):
    for _ in range(r.randint(1, 4)):
        i, j, k = sorted(r.randint(0, len(text)) for _ in range(3))
        tags = [m.start() for m in TAG.finditer(text)] + [m.start() for m in re.finditer(re.escape(BOX), text)]
        if tags and r.random() < 0.5:
            i = r.choice(tags)
            j, k = max(i, j), max(i, j, k)
        text = r.choice([
            lambda: text[:i] + text[j:],
            lambda: text[:j] + text[i:],
            lambda: text[:i] + text[j:k] + text[i:j] + text[k:],
            lambda: text[:i] + r.choice(PIECES) + text[i:],
            lambda: text[:i] + r.choice(PIECES) + text[i:],
            lambda: text[:k],
        ])()
    return text


def tokenised(r, text):
    """Tokens that end anywhere; some have no bytes."""
    ends = r.choices(range(len(text) + 1), k=r.choice([1, len(text) // 9 + 1, len(text) // 4 + 1]))
    ends = sorted(ends) + [len(text)]
    return [text[a:b].decode("latin-1") for a, b in zip([0] + ends, ends)]


def mutate():
    header, lines = read(CORPUS)
    header["steps"][1]["name"] = 'the "attribute" & <more>'
    header["steps"][3].pop("answers")
    for syntax, path in MUTATED.items():
        r = random.Random(syntax)
        header["syntax"] = syntax
        with gzip.GzipFile(path, "wb", mtime=0) as f:
            f.write(json.dumps(header).encode() + b"\n")
            for i, line in enumerate(r.sample(lines, 200)):
                if i % 2:
                    text = rename(syntax, header, completion(line)[0])
                else:
                    text = well_formed(r, syntax, header["steps"])
                out = {"tokens": tokenised(r, mutated(r, text))}
                f.write(json.dumps(out).encode() + b"\n")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("do", choices=["mutate", "check"])
    if arguments.parse_args().do == "mutate":
        mutate()
    else:
        sys.exit(any([check(path) for path in (CORPUS, *MUTATED.values())]))


if __name__ == "__main__":
    main()
