"""The texts that every family's golden vectors are of."""

# Words that differ, so that a key too many or too few in a window shows.
_WORDS = "the cat sat on a mat and what is the capital city of france to cook pasta in water boil river".split()  # noqa: SIM905


def words(count: int) -> str:
    return " ".join(_WORDS[index * 7 % len(_WORDS)] for index in range(count))


TEXTS = [
    "What is the capital of France?",
    "To cook pasta, bring a large pot of salted water to a boil.",
    "",
    " ",
    "cat",
    "cats of the river",
    " the  dog ",
    "padding <pad> in [PAD] the text",
    "a\nb\tc",
    "Z\u00fcrich",
    "\u5317\u4eac\u662f\u4e2d\u56fd\u7684\u9996\u90fd\u3002",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "emoji \U0001f600 and a family \U0001f468\u200d\U0001f469\u200d\U0001f467",
    *(words(count) for count in (2, 3, 4, 5, 6, 7, 8, 9, 12, 17, 40)),
    words(150),
    "river " * 400,  # cut
]
