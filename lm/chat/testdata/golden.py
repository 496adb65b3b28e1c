"""Conversations as transformers writes them, for the tests of chat and chat/jinja.

    pip install transformers==5.23.0 jinja2==3.1.6
    pip install --no-deps trl==1.16.0
    python golden.py > golden.json        # the committed file
    python golden.py all > golden.json    # all templates of TRL, a check to run now and then

Published templates come from the files that TRL carries (Apache-2.0); ChatML,
Zephyr, Mistral and Llama 2, which it lacks, are written out here. Every result
is that of apply_chat_template with the clock at 2024-07-26.
"""

import datetime
import importlib.util
import json
import pathlib
import sys

import tokenizers
import transformers
from transformers.utils import chat_template_utils

assert transformers.__version__ == "5.23.0", transformers.__version__

PUBLISHED = [
    "qwen2_5", "qwen3", "qwen3_instruct_2507", "qwen3_training", "qwen3_8", "llama3", "llama3_1", "llama3_2",
    "gemma", "phi3", "phi3_5", "deepseekv3", "cohere", "glm4moe", "gemma3", "lfm2_v2", "gptoss",
]
OWN = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "zephyr": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "mistral": "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
}

# Features of Jinja and of transformers' environment, one template each. The
# conversation is that named "turns".
FEATURES = {
    "trim_blocks": "{% for m in messages %}\n    {% if m.role == 'user' %}\n  <{{ m.content }}>\n    {% endif %}\n{% endfor %}\nend\n",
    "tight": "a  {%- if true -%}  b  {%- endif -%}  c\n\n{{- 'd' -}}\n\n e {#- no -#} f\n",
    "plus": "a\n  {%+ if true %}b{% endif +%}\nc",
    "tojson": "{{ messages | tojson }}|{{ messages[0] | tojson(indent=2) }}|{{ {'b': [1, 2.5, true, none], 'a': '<é\"\\u2028>'} | tojson }}",
    "loop_controls": "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "namespace": "{% set ns = namespace(n=0, last='') %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% set ns.last = m.role %}{% endfor %}{{ ns.n }}{{ ns.last }}",
    "loop": "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }};{% endfor %}",
    "neighbours": "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}<{{ loop.nextitem.role if loop.nextitem is defined else '-' }};{% endfor %}",
    "macro": "{% macro show(m, mark='!') %}{{ m.role }}{{ mark }}{% endmacro %}{{ show(messages[0]) }}{{ show(messages[1], mark='?') }}",
    "slices": "{{ messages[1:]|length }}{{ messages[-1].content }}{{ messages[:1][-1].content }}{% for m in messages[::-1] %}{{ m.role[0] }}{% endfor %}",
    "last_of_one": "{{ messages[0].role.split('-')[-1] }}{{ (messages[0].role | list)[-1] }}{{ messages[:1][0].role }}",
    "strings": "{% set c = messages[0].content %}{{ c.upper() }}{{ c.split('l')[0] }}{{ c.startswith('H') }}{{ c.replace('l', 'L') }}{{ c | length }}{{ 'ell' in c }}{{ c.strip('He') }}",
    "filters": "{{ messages | map(attribute='role') | join(',') }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ '  x ' | trim }}{{ none_such | default('d') }}",
    "tests": "{{ messages is iterable }}{{ messages[0] is mapping }}{{ messages[0].content is string }}{{ missing is defined }}{{ messages[0].missing is defined }}{{ none is none }}{{ 3 is odd }}",
    "date": "{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%Y-%m-%d %H:%M:%S %A %B %j %y %p %I %%') }}",
    "tokens": "{{ bos_token }}{{ eos_token }}{{ missing }}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}",
    "scopes": "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}{% for m in messages %}{% set x = 3 %}{% endfor %}{{ x }}",
    "dict": "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{{ messages[0].get('name', 'nobody') }}{{ 'role' in messages[0] }}",
    "numbers": "{{ 7 // 2 }} {{ 7 % 4 }} {{ 7 / 2 }} {{ 1.0 }} {{ 2 * 3 }} {{ -3 + 1 }} {{ 1 < 2 }} {{ 'a' ~ 1 }}",
    "escapes": "{{ 'a\\\\b' }}{{ \"\\\\\" }}{{ 'x' | replace('x', '\\\\n') }}{{ 'it\\'s' }}{{ 'a' \"b\" 'c' }}",
    "conditionals": "{{ 'a' + ('b' if messages else 'c') }}{{ 1 if false else 2 if false else 3 }}[{{ 'x' if false }}]{{ [1 if true else 2, {'k': 'v' if false else 'w'}['k']] | join }}"
    "{% set x = 'y' if messages | length > 9 else 'z' %}{{ x }}{{ (messages | length if true else raise_exception('lazy')) }}{% if (true if none else false) %}no{% endif %}",
    "characters": "{% for c in 'añ🙂' %}[{{ c }}]{% endfor %}{% for k in messages[0] %}{{ k }};{% endfor %}{% for x in missing %}no{% else %}none{% endfor %}",
    "filtered_loop": "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.content }}{{ loop.last }}{% endfor %}{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }}{% endfor %}",
    "blanks": "{% if true %} {% if true %}\t{% endif %}{# c #} {# c #}{% endif %} {{ 1 }} {% if true %}\n {% endif %}  {% if true -%} {% endif %}\n  \n  {% if true %}x{% endif %} y\n",
    "raw": "{% raw %}{{ not 'x' if }}{% endraw %}{# {{ comment #}{{ '}}' }}{{ {'a': {'b': 1}}.a.b }}",
    "raise": "line one\n{% for m in messages %}\n{{ raise_exception('no ' + m.role) }}\n{% endfor %}",
}

CONVERSATIONS = {
    "user": [("user", "Hello")],
    "system": [("system", "Be brief."), ("user", "Hello")],
    "turns": [("user", "Hello"), ("assistant", "Hi there!"), ("user", "Bye")],
    "system_turns": [("system", "  Be brief.\n"), ("user", " Hello "), ("assistant", "\n\nHi there! "), ("user", "Bye\u00a0\u2003")],
    "answered": [("user", "2+2?"), ("assistant", "4")],
    "unicode": [("system", "Réponds en 日本語 🙂"), ("user", "नमस्ते — „Grüße“ \u200d👩‍💻\u0301"), ("assistant", "مرحبا\u2028\u0085x"), ("user", "\x1c\ttab\x1f")],
    "special": [("user", "<|im_end|>\n<|im_start|>system\n<|eot_id|></s>[INST] {{ bos_token }} {% if %}"), ("assistant", "<s> & \"quoted\" <b>"), ("user", "\\n \\ ' \"")],
    "thinking": [("user", "q1"), ("assistant", "<think>\nlong\nthought\n</think>\n\na1"), ("user", "q2"), ("assistant", "<think>\n\nwhy\n\n</think>\n\n\na2\n")],
    "unopened": [("user", "q1"), ("assistant", "thought\n</think>a1</think>\na2")],
    "two_answers": [("user", "q"), ("assistant", "plain"), ("assistant", "<think>t</think>x"), ("assistant", "\nlast")],
    "tool_response": [("user", "q"), ("assistant", "call"), ("user", "<tool_response>\n1\n</tool_response>"), ("assistant", "done")],
    "empty": [("user", ""), ("assistant", "")],
    "late_system": [("user", "a"), ("system", "now brief"), ("user", "b")],
    "assistant_first": [("assistant", "hello"), ("user", "hi")],
}

# Templates of Qwen 3 also run without thinking.
VARIANTS = {"qwen3": [{}, {"enable_thinking": False}], "llama3_1": [{}, {"date_string": "01 Jan 2030"}]}


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 9, 5, 3)


def render(tokenizer, template, messages, **kwargs):
    try:
        return {"text": tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, **kwargs)}
    except Exception as e:
        return {"error": str(e)}


def main():
    chat_template_utils.datetime = Clock
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()), bos_token="<|begin_of_text|>", eos_token="</s>"
    )
    trl = pathlib.Path(importlib.util.find_spec("trl").submodule_search_locations[0])
    names = PUBLISHED
    if "all" in sys.argv:
        # These take content as a list of images and texts.
        images = ("llava", "idefics", "smolvlm")
        names = sorted(p.stem for p in (trl / "chat_templates").glob("*.jinja") if not p.stem.startswith(images))
    templates = {name: (trl / "chat_templates" / f"{name}.jinja").read_text() for name in names} | OWN
    conversations = {name: [{"role": r, "content": c} for r, c in turns] for name, turns in CONVERSATIONS.items()}
    cases = []
    for name, template in templates.items():
        for variables in VARIANTS.get(name, [{}]):
            for conversation, messages in conversations.items():
                for generate in (False, True):
                    result = render(tokenizer, template, messages, add_generation_prompt=generate, **variables)
                    cases.append({"template": name, "variables": variables, "conversation": conversation, "generate": generate} | result)
    for name, template in FEATURES.items():
        templates["feature/" + name] = template
        result = render(tokenizer, template, conversations["turns"])
        cases.append({"template": "feature/" + name, "variables": {}, "conversation": "turns", "generate": False} | result)
    json.dump({"templates": templates, "conversations": conversations, "cases": cases}, sys.stdout, ensure_ascii=False, indent=0)
    print()


main()
