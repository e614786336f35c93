"""The texts of the MiniLM parity test, in groups by what they try.

Literal, or built from literals by arithmetic that no Python version changes; characters that an
editor would not show are written as escapes. The order is part of `minilm.npz`: after a change
here, `generate.py` has to run again.
"""

FIRST_VALIDATION = [
    "What is the capital of France?",
    "The capital of France is Paris.",
    "To cook pasta, bring a large pot of salted water to a boil.",
]

SHORT = [
    "a",
    "I",
    ".",
    "?!",
    "hello",
    "Hello",
    "HELLO WORLD",
    "yes, no",
    "42",
    "the of and to in",
]

SENTENCES = [
    "The ferry to the island leaves twice a day when the weather allows it.",
    "A neural network is a composition of affine maps and pointwise nonlinearities.",
    "She refused the offer, and three weeks later the company went bankrupt.",
    "Der Zug nach Hamburg hat heute leider vierzig Minuten Verspätung.",
    "Les enfants mangeaient des cerises à l'ombre du vieux noyer.",
    "El río creció durante la noche y cubrió el puente de madera.",
    "It's the cat's toy, isn't it? They'd've known -- wouldn't they?",
    "\"Quoted\" 'text' with “curly” ‘marks’ – and – dashes … and an ellipsis...",
    "State-of-the-art, mother-in-law, e-mail; semi-colons: (parentheses) [brackets] {braces}",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis floccinaucinihilipilification",
    "A patient with elevated troponin and ST-segment depression was given 300 mg of aspirin.",
    "The lessee shall indemnify the lessor against all claims arising from the use of the premises.",
]

WHITESPACE = [
    "",
    " ",
    "   \t\n\r\n  ",
    "\u00a0\u2003\u3000",
    "  leading and trailing spaces  ",
    "many     spaces\tand\ttabs\n\nand\nlines",
]

UNICODE = [
    "北京是中华人民共和国的首都。",
    "機械学習は人工知能の一分野であり、データから学ぶ。",
    "서울은 대한민국의 수도이다.",
    "القاهرة هي عاصمة جمهورية مصر العربية.",
    "ירושלים שלנו, abc 123, עברית ואנגלית יחד",
    "Москва — столица России, а Київ — столиця України.",
    "Η Αθήνα είναι η πρωτεύουσα της Ελλάδας. ΟΔΥΣΣΕΥΣ",
    "भारत की राजधानी नई दिल्ली है।",
    "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
    "Thủ đô của Việt Nam là Hà Nội.",
    "café résumé naïve Ångström",
    "cafe\u0301 re\u0301sume\u0301 nai\u0308ve A\u030angstro\u0308m",
    "z\u0351\u036b\u0343a\u0363\u0366l\u034c\u0348g\u0321\u032bo\u030b\u0329",
    "İstanbul ISPARTA ıspanak ẞ ß ﬁ ﬂ Ǆ ŉ",
    "ＦＵＬＬ　ｗｉｄｔｈ　１２３",
    "I ❤️ 🍕 and 🎉🎉🎉!",
    "Family: \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466, "
    "thumbs up \U0001f44d\U0001f3fd, flag \U0001f1eb\U0001f1f7",
    "\U0001f469\U0001f3ff\u200d\U0001f680",
    "right-to-left \u202eoverride\u202c and \u200fmarks\u200e",
    "zero\u200bwidth\u200cspaces\ufeffand soft\u00adhyphen",
    "∑ᵢ xᵢ² ≤ ∫₀^∞ e^{−t} dt ≈ 1, ∀ε>0 ∃δ: |x−y|<δ ⇒ ‖f(x)−f(y)‖<ε",
    "𝕳𝖊𝖑𝖑𝖔 𝒲ℴ𝓇𝓁𝒹 𐍈 𠜎 𠮷野家",
]

CONTROL = [
    "a NUL \x00 in\x00side and more",
    "\x00",
    "bell \x07 backspace \x08 escape \x1b[31mred\x1b[0m delete \x7f",
    "next line \x85 and c1 \x9b controls, line\u2028separator, paragraph\u2029separator",
    "the replacement character \ufffd, a private use \ue000 one and a noncharacter \ufffe",
]

MARKUP = [
    "[CLS] special tokens [SEP] written [MASK] in [PAD] the [UNK] text",
    "[cls] [sep] lower case, [ CLS ] spaced, [CLS][SEP] joined, x[MASK]y inside",
    "##ing ##s un##able",
    "def fib(n):\n    a, b = 0, 1\n    while a < n:\n        yield a\n        a, b = b, a + b\n",
    "SELECT name, COUNT(*) FROM users WHERE age >= 21 GROUP BY name HAVING COUNT(*) > 1;",
    "fn main() -> Result<(), Box<dyn Error>> { let v: Vec<u8> = vec![0; 1 << 10]; Ok(()) }",
    '<div class="a b"><p>Hello &amp; goodbye</p><!-- comment --></div>',
    '{"id": 17, "tags": ["x", "y"], "ratio": -1.5e-7, "nested": {"null": null}}',
    "https://example.org/a/b?q=sentence+embedding&page=2#section-3 mailto:someone@example.org",
    "3.14159 2,718,281 -40°C 1e-12 0xDEADBEEF 12/31/1999 23:59:59 +1 (555) 010-9999 $1,299.00 50%",
    "IPv6 2001:0db8:85a3:0000:0000:8a2e:0370:7334, SHA1 da39a3ee5e6b4b0d3255bfef95601890afd80709",
]

REPEATED = [
    "no no no no no no no no no no no no no no no no",
    "!" * 60,
    "aaaaaaaaaa" * 9,
    "x" * 100,
    "x" * 101,
    "The capital of France is Paris.",
    "hello",
    "",
]

_PARAGRAPH = (
    "The harbour froze early that year, and the boats that had not been hauled out by November "
    "stayed where they were until spring. Old Marten kept a path open from the quay to the outer "
    "mole with an axe and a sledge of salt, partly out of habit and partly because the lamp there "
    "still had to be trimmed. Nobody had asked him to. The town paid for oil, not for labour, and "
    "the council had argued through two meetings about whether an automatic lamp would be cheaper. "
)

_WORDS = "amber basalt cedar delta ember fjord granite harbor iris juniper kelp lichen".split()  # noqa: SIM905

LONG = [
    _PARAGRAPH,
    _PARAGRAPH * 2,
    " ".join("word" for _ in range(253)),
    " ".join("word" for _ in range(254)),
    " ".join("word" for _ in range(255)),
    _PARAGRAPH * 4,
    " ".join(_WORDS[(7 * i + i * i) % len(_WORDS)] for i in range(600)),
    "".join("中文分词" for _ in range(150)),
    "supercalifragilisticexpialidocious " * 80,
    " ".join(str(i * i * 7919) for i in range(400)),
    "🙂 " * 300,
    "a" * 20000,
    "end " * 5000,
]

GROUPS = {
    "first validation": FIRST_VALIDATION,
    "short": SHORT,
    "sentences": SENTENCES,
    "whitespace": WHITESPACE,
    "unicode": UNICODE,
    "control": CONTROL,
    "markup": MARKUP,
    "repeated": REPEATED,
    "long": LONG,
}

TEXTS = [text for group in GROUPS.values() for text in group]
