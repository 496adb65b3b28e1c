"""The texts of the goldens of families.py: made by a fixed random stream, so
that they are the same wherever the script runs."""

import random

SENTENCES = """
All human beings are born free and equal in dignity and rights. They're endowed with reason; we'll act, won't we?
Tous les êtres humains naissent libres et égaux en dignité et en droits. L'été, c'est à Noël qu'il y eut un œuf.
Alle Menschen sind frei und gleich an Würde und Rechten geboren. Straße, Fußgängerübergänge, Donaudampfschifffahrt.
Todos los seres humanos nacen libres e iguales en dignidad y derechos. ¿Cómo estás? ¡Mañana será otro día!
Todos os seres humanos nascem livres e iguais em dignidade e direitos. Não há coração sem emoção.
Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Perché l'università è così?
Wszyscy ludzie rodzą się wolni i równi pod względem swej godności. Zażółć gęślą jaźń.
Všichni lidé rodí se svobodní a sobě rovní. Příliš žluťoučký kůň úpěl ďábelské ódy.
Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.
Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. İstanbul'da ışık ılık.
Все люди рождаются свободными и равными в своём достоинстве и правах. Съешь ещё этих мягких булок.
Всі люди народжуються вільними і рівними у своїй гідності. Ґанок, їжак, єнот.
Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια. Σίσυφος ΟΔΟΣ ᾳ ᾧ.
Բոլոր մարդիկ ծնվում են ազատ ու հավասար։ և մեկ
ყველა ადამიანი იბადება თავისუფალი და თანასწორი. ᲥᲐᲠᲗᲣᲚᲘ
כל בני האדם נולדו בני חורין ושווים בערכם. שָׁלוֹם עֲלֵיכֶם
يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. ١٢٣٤٥ ۱۲۳
تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔
همهٔ انسان‌ها آزاد به دنیا می‌آیند و از لحاظ حیثیت برابرند.
सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है। १२३ क़लम
সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা নিয়ে জন্মগ্রহণ করে। ৪৫৬ কো
மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர். கொ கெ ௧௨
మానవులెల్లరును స్వేచ్ఛగా జన్మించిరి. ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿಯೇ ಹುಟ್ಟಿದ್ದಾರೆ.
മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടെ ജനിച്ചിട്ടുള്ളവരാണ്. සියලු මනුෂ්‍යයෝ නිදහස්ව උපත ලබා ඇත.
ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਪਣੀ ਮਹਿਮਾ ਦੇ ਲਿਹਾਜ਼ ਨਾਲ। પ્રતિષ્ઠા અને અધિકારોની દૃષ્ટિએ સર્વ માનવો સમાન છે. ଓଡ଼ିଆ
มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน ๑๒๓ ນ້ຳ ມະນຸດທຸກຄົນເກີດມາມີສິດ
လူတိုင်းသည် တူညီလွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့်။ មនុស្សទាំងអស់កើតមកមានសេរីភាព ១២៣
འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ། የሰው ልጅ ሁሉ ሲወለድ ነጻ ነው። ፩፪፫
人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。𠮷野家𪚥 豈更車
人人生而自由﹐在尊嚴和權利上一律平等。「繁體」，『中文』……
すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。ｶﾞｷﾞ が が ｱ
모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 각 각 한글
Хүн бүр төрж мэндлэхдээ эрх чөлөөтэй. ᠬᠦᠮᠦᠨ ᠪᠦᠷ
Ẽ ĩ ũ ɐ ʃ ʒ θ ð ŋ ˈfəʊnətɪk ˌaɪ piː ˈeɪ tʰ kʷ ɬ ǃ ʘ
""".strip().split("\n")

CODE = [
    'package main\n\nimport "fmt"\n\nfunc main() {\n\tfor i := 0; i < 10; i++ {\n\t\tfmt.Println("x:", i)\n\t}\n}\n',
    "def f(x: int) -> str:\n    \"\"\"Doc.\"\"\"\n    return f'{x:>10.3f}' if x != 0 else None\n\n\nclass A(B):\n        pass\n",
    "for (int i=0;i<n;++i){a[i]^=b[i]<<2|c->d;} /* ok */ // done\r\n#define X(a,b) a##b\r\n",
    "<div class=\"a b\"><p>Hi &amp; bye</p></div>\n<!-- x -->\n<br/>\n\n\n\n<i>t</i>",
    '{"key": [1, 2.50, -3e-10, true, null], "s": "a\\n\\u00e9"}',
    "SELECT * FROM t WHERE a='it''s' AND b<>NULL;\n-- comment\nGROUP BY 1",
    "$ ls -la | grep '^d' > /dev/null 2>&1 && echo \"${HOME%/}\"\n\t\t\\\n",
    "#include <bits/stdc++.h>\nusing namespace std;\nint main(){cout<<\"Hello\\n\";return 0;}",
    "λx.λy.x(y) ∀ε>0 ∃δ: |x−a|<δ ⇒ |f(x)−L|<ε; ∑_{i=0}^{∞} 1/2ⁱ = 2; √2≈1.41421356",
    "https://example.com/path?q=1&r=%20a#frag user@example.org 192.168.0.1 ::1 C:\\Users\\x",
    "1234567890 12 345 6789 1,234,567.89 3.14159 0x1F 1e10 ½ ⅓ ² ³ Ⅷ ① 一二三 ２０２４ ٠١٢ 𝟘𝟙𝟚",
    "| a | b |\n|---|:-:|\n| `x` | **y** |\n\n- [ ] todo\n1. one\n\t2. two\n> quote\n---\n```go\nx\n```",
]

EMOJI = list("😀🎉👍❤🔥✨🤷‍♂️🏳️‍🌈👩🏽‍🚀🇩🇪🇯🇵#️⃣1️⃣👨‍👩‍👧‍👦🫠🥹™©®☺️☹︎♥️🀄🃏🧑‍🤝‍🧑") + [
    "👩‍👩‍👧‍👦", "🇩🇪", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👍🏿", "❤️‍🔥", "1️⃣", "🤦🏼‍♀️",
]

# First and last character of blocks of all kinds, unassigned ones included.
BLOCKS = [
    (0x00, 0x7F), (0x80, 0xFF), (0x100, 0x17F), (0x180, 0x24F), (0x250, 0x2AF), (0x2B0, 0x2FF), (0x300, 0x36F),
    (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x700, 0x7FF), (0x800, 0x8FF),
    (0x900, 0x9FF), (0xA00, 0xBFF), (0xC00, 0xDFF), (0xE00, 0xFFF), (0x1000, 0x10FF), (0x1100, 0x11FF),
    (0x1200, 0x13FF), (0x1400, 0x167F), (0x1680, 0x17FF), (0x1800, 0x1AFF), (0x1B00, 0x1CFF), (0x1D00, 0x1DFF),
    (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x20FF), (0x2100, 0x21FF), (0x2200, 0x23FF), (0x2400, 0x27FF),
    (0x2800, 0x2BFF), (0x2C00, 0x2E7F), (0x2E80, 0x303F), (0x3040, 0x30FF), (0x3100, 0x33FF), (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7FF), (0xE000, 0xF8FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF),
    (0xFE00, 0xFFFF), (0x10000, 0x10FFF), (0x11000, 0x11FFF), (0x12000, 0x16FFF), (0x17000, 0x1CFFF),
    (0x1D000, 0x1DFFF), (0x1E000, 0x1EFFF), (0x1F000, 0x1FAFF), (0x20000, 0x2FFFF), (0x30000, 0x3FFFF),
    (0xE0000, 0xE0FFF), (0xF0000, 0x10FFFF),
]

EDGES = [
    "", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r\n\r\n", "\t", "\t\t", " \n", "\n ", " \n ", "  \n  ", "\n  \n", " \t \n\t ",
    "a", " a", "  a", "a ", "a  ", "\na", "a\n", "a\n\nb", "a \n b", "a  \n  b", "a\n\n\n  b", "!\n", "!\n\n", " !\r\n x", "!\n!",
    "'s", "'S", "'ſ", "it's", "IT'S", "it'ſ x", "'tis", "we'LL", "we'Ll've", "'re're", "''s", "' s", "'", "''", "'l", "'v", "x'", "’s",
    "1", "12", "123", "1234", "12345", "1 2", " 1", "  1", "a1b22c333d4444", "1.5", "1,000", "½½½½", "٣٤٥٦", "1\u0301", "a1\u0301b",
    "\u00a0", "a\u00a0b", "\u00a0\u00a0a", "\u3000", "a\u3000\u3000b", "\u2028", "a\u2029b", "\u0085", "a\u0085b", "\u200b", "a\u200bb",
    "\ufeffa", "\u180ea", "\u1680x", "\x00", "\x00a\x00", "\x01\x02", "\x7f", "\x1b[0m", "\x0b\x0c", "a\x0bb", "\x1c\x1d\x1e\x1f",
    "é", "e\u0301", "E\u0301E\u0300", "ạ\u0302", "a\u0302\u0323", "\u0301", "\u0301a", " \u0301", "a\u0301\u0301\u0301", "q\u0323\u0307", "q\u0307\u0323",
    "Å", "Å", "K", "Ω", "ﬁ", "ﬀ", "①", "ｱ", "\u1100\u1161", "\u1100\u1161\u11a8", "가\u11a8", "각\u11a8", "\u0958", "\u0915\u093c", "\u2adc", "\u0344",
    "a\u0315\u0300\u05ae\u0062", "\u0f71\u0f72\u0f74", "\U0001d15e", "\U0001d157\U0001d165", "\u09c7\u09be", "\u0b47\u0b3e", "ǆ", "İ", "I\u0307", "ß", "ẞ", "Σ", "ΣΑΣ", "ŉ", "ﬅ",
    "\ufffd", "\ufffe", "\uffff", "a\ufffdb", "\ue000", "\U0010ffff", "\U000e0001", "\u0378", "\u05ff",
    "café", "cafe\u0301", "naïve façade", "naïveté", "naïve", "_naïve", "bathe the theory, the/the_", "[MASK]  [MASK]x [SEP]\n\n<s> \u00a0<s>y [SEP][MASK]", " are  we are\tyou are", "ae\u0301e\u0300user",  "  user user\u3000user", "Ångström", "ĀĒĪŌŪ", "crème brûlée", "Łódź", "ñandú",
    "中文 English 混合", "中1文2", "a中b", "㐀䶵", "𠀀𪛖", "豈", "々〆〤", "ー", "・",
    "▁", "▁▁", " ▁ ", "a▁b", "Ġ", "Ġa", "Ċ", "ĠĠ", "##", "##ing", "a##b", "<0x0A>", "<0xE2>", "[UNK]x",
    "don't", "Don't!", "o'clock", "rock'n'roll", "I'm", "y'all'd've", "do not", "can not", "U.S.A.", "e.g.", "...", "…", "--", "—", "_", "__init__", "snake_case", "camelCaseWord", "HTTPServer",
    "unaffable", "unwanted running", "hello!how are you?", "xyzzyqwv", "antidisestablishmentarianism", "pneumonoultramicroscopicsilicovolcanoconiosis",
]

LONG = [
    "a" * 1000, "ab" * 700, "1" * 1000, "!" * 1000, " " * 1000, "\n" * 1000, " \n" * 500, "中" * 400, "é" * 400, "e\u0301" * 300, "👍" * 200,
    "x" * 99, "x" * 100, "x" * 101, "é" * 100, "é" * 101, "the" * 40, "'s" * 200, "a " * 300, "\t" * 100 + "x", " " * 99 + "x", "\u0301" * 50,
    "a" + "\u0301\u0323" * 20, "a" + "\u0323" * 33 + "\u0301", "\u1100" * 20 + "\u1161" * 20, "\u0f71\u0f72" * 20, "=" * 80, "-" * 80, "0123456789" * 30, "aA" * 100, "=-" * 99, "\r\n" * 200, "\u00a0" * 100,
    "Lopadotemachoselachogaleokranioleipsanodrimhypotrimmatosilphioparaomelitokatakechymenokichlepikossyphophattoperisteralektryonoptekephalliokigklopeleiolagoiosiraiobaphetraganopterygon",
]

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<|begin_of_text|>", "<|eot_id|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_0|>", "<|reserved_special_token_24|>", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "<s>", "</s>", "<unk>",
]


def texts():
    rng = random.Random(20241)
    out = list(EDGES) + list(LONG) + SENTENCES + CODE
    out += [s.upper() for s in SENTENCES[:16]] + [s.replace(" ", "") for s in SENTENCES[:12]]
    for s in SENTENCES:  # parts of sentences, some cut inside a word
        for _ in range(3):
            a = rng.randrange(len(s))
            out.append(s[a : a + rng.randrange(1, 50)])
    out += ["".join(rng.choice(EMOJI) + rng.choice(["", "", " ", "a", "\n"]) for _ in range(rng.randrange(1, 10))) for _ in range(40)]
    for a, b in BLOCKS:
        for _ in range(5):
            n = rng.randrange(1, 16)
            s = "".join(rng.choice([chr(rng.randrange(a, b + 1))] * 4 + [" ", "e"]) for _ in range(n))
            out.append("".join(c for c in s if not "\ud800" <= c <= "\udfff"))
    alphabet = list(" \n\t\r'.,!?<>|/-_#$") * 3 + list("etaoinshrdluSTDM") * 3 + list("0123456789éßøЖшαω漢字あア½²٣ſ") + ["\u00a0", "\u3000", "🎉", "\u0301", "\u0323", "가", "\u11a8"]
    for _ in range(240):
        out.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 40))))
    for _ in range(100):
        out.append("".join(rng.choice(SPECIAL + [" ", "\n", "a", "user", "é", "Hello world", "<|", "|>", "[", "]", "  "]) for _ in range(rng.randrange(1, 9))))
    for s in SPECIAL:
        out += [s, s + s, "a" + s + "b", "a " + s + " b", s[1:], s[:-1], s.upper(), "\n" + s + "\n"]
    return list(dict.fromkeys(out))
