"""The texts that `validate` and `bench` use where the caller brings none, and files of texts that they do bring.

In: a path, one text a line. Out: a list. The three sentences are those of the first validation script.
"""

from __future__ import annotations

SENTENCES = ("What is the capital of France?", "Paris is the capital of France.", "How do I cook pasta?")

# Of many lengths and scripts: an empty one, one of a letter, one that most models cut.
TEXTS = (
    *SENTENCES,
    "",
    "a",
    "Boil the pasta in salted water for ten minutes.",
    "The Treaty of Rome was signed in 1957 by six countries and came into force a year later.",
    "def add(a: int, b: int) -> int:\n    return a + b",
    "Die Würde des Menschen ist unantastbar.",
    "東京は日本の首都です。",
    "Москва — столица России.",
    "The price rose by 3.7 % to 1,299.00 € on 2024-02-29; see https://example.org/?q=a&b=c#d.",
    "  spaces   around,\ttabs and\nlines  ",
    "\U0001f600 emoji, a zero-width joiner \U0001f469\u200d\U0001f680 and e\u0301 in two parts",
    "Rivers carry sand and clay from the mountains to the sea, where they settle in layers, and in time become stone. "
    * 6,
    "word " * 300,
)


def numbered(count: int) -> list[str]:
    """So many short questions, no two alike: equal texts would be computed once."""
    return [f"{SENTENCES[index % len(SENTENCES)]} {index}" for index in range(count)]


def read_texts(path: str) -> list[str]:
    """The lines of a UTF-8 file, without empty ones.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not UTF-8, or holds no text.
    """
    with open(path, encoding="utf-8", newline="\n") as file:
        try:
            texts = [line.rstrip("\r\n") for line in file]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8: {error}") from error
    if not (texts := [text for text in texts if text.strip()]):
        raise ValueError(f"{path}: holds no text; expected one a line")
    return texts
