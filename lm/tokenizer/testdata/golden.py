"""Makes the golden files from Hugging Face's tokenizers library.

    pip install tokenizers==0.23.3
    go test ./lm/tokenizer -run TestTrainedFile -update   # writes ours.json
    python lm/tokenizer/testdata/golden.py                   # writes the others

ours.json    the tokenizer that package tokenizer trains on corpus.txt (input)
hf.json      the library's own, trained on the same corpus with the same settings
golden.json  texts, and how the library encodes them with either file
"""

import json
import pathlib
import random

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__
here = pathlib.Path(__file__).parent

corpus = (here / "corpus.txt").read_text(encoding="utf-8").split("\n\n")
hf = Tokenizer(models.BPE())
hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
hf.decoder = decoders.ByteLevel()
hf.train_from_iterator(
    corpus,
    trainers.BpeTrainer(
        vocab_size=2000,
        min_frequency=2,
        special_tokens=["<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    ),
)
# Added tokens at the end, and of both kinds: "normalized" ones (the default)
# are looked for after the others.
hf.add_tokens(["<step", "step>", "é!"])
hf.add_tokens([AddedToken("</step>", normalized=False), AddedToken("ep><", normalized=False)])
hf.save(str(here / "hf.json"))

texts = [
    "", " ", "  ", "\n", "\n\n", " \n ", "\t\tx", "a", " a", "  a", "   a  ",
    "it's we'll they've I'd I'm you're don't 'tis 'S 'LL '' '", "!'s 's 's's '", " 'll", "x'", "'l", "'v", "'re'",
    "12 345 6½ ²³ ٣٤ Ⅷ 1a2b", "hello_world foo-bar (baz) [qux] {x}: y;", "e\u0301 é ñ n\u0303",
    "日本語のテキスト。 한국어 ไทย العربية हिन्दी", "👩‍👩‍👧‍👦 🎉🎉 🇩🇪", "a\u00a0b\u00a0\u00a0c", "\u3000x\u2003y\u2028z\u0085w\u1680v",
    "\u200b\u200bzero\ufeffwidth", "\x00\x01\x7f", "\r\n\r\nline\r\n", "tabs\tand  spaces   end ", "\ufffd�",
    "<|end|>", "a<|end|>b", "a <|end|> b", "<|end|><|pad|><|end|>", "<|end|", "|end|>", "<<|end|>>",
    "<step name=\"rules\">x</step>", "<step></step>", "<step><step", "x<step>y", "</step>step>", "</step><step", "step><",
    "é!é!!", "<|e<|end|>nd|>", "aaaaaaaaaaaaaaaaaaaaaaa", "abababababab", "the the the the",
]
rng = random.Random(7)
alphabet = list(" \n\t'.,!?<>|/") * 4 + list("etaoinshrdlu") * 6 + list("0123456789éßøЖшαω漢字あア½²٣\u00a0\u3000🎉")
pieces = ["<|end|>", "<|pad|>", "<step", "</step>", "step>", "ep><", "é!", "'s", "'ll", "'ve", "the", " river", "  "]
words = " ".join(corpus).split(" ")
for _ in range(300):
    n = rng.randrange(1, 40)
    texts.append("".join(rng.choice(pieces) if rng.random() < 0.1 else rng.choice(alphabet) for _ in range(n)))
for _ in range(100):
    texts.append(" ".join(rng.choice(words) for _ in range(rng.randrange(1, 30))))

ours = Tokenizer.from_file(str(here / "ours.json"))
golden = {
    "tokenizers": tokenizers.__version__,
    "texts": texts,
    "hf": [hf.encode(t, add_special_tokens=False).ids for t in texts],
    "ours": [ours.encode(t, add_special_tokens=False).ids for t in texts],
    "ours_decoded": [ours.decode(ours.encode(t).ids) for t in texts],
}
with open(here / "golden.json", "w", encoding="utf-8") as f:
    json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))
    f.write("\n")
