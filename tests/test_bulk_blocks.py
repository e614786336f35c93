"""Lines of a .txt file, which are taken many at a time: how the file happens to be read changes nothing."""

import json

import pytest

from ironvec import Embedder
from ironvec.bulk import embed_files
from kit.bulk import json_lines, left_behind

# What may stand at the end of a block: half an end of line, half a character, half a byte order mark.
LINES = [
    b"\xef\xbb\xbfthe cat\r", b"", "Zürich 東京 🙂".encode(), b"\r", b"a\r\r", b"caf\xe9\r", b"a\rb", b"  paris ",
    b"\xed\xa0", b"a" * 50, b"", b"cat \x00 sat", b"dog",
]  # fmt: skip
TEXTS = ["the cat", "", "Zürich 東京 🙂", "", "a\r", "a\rb", "  paris ", "a" * 50, "", "cat \x00 sat", "dog"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n", b"\n\n"])
def test_texts_are_the_lines_without_their_ends(model, tmp_path, monkeypatch, end):
    given, encode = [], Embedder._encode_rows

    def seen(self, rows, **keywords):
        given.append(list(rows))
        return encode(self, rows, **keywords)

    monkeypatch.setattr(Embedder, "_encode_rows", seen)
    (tmp_path / "t.txt").write_bytes(b"\n".join(LINES) + end)
    done = embed_files(tmp_path / "t.txt", tmp_path / "v.npy", model, chunk_rows=4)
    expected = TEXTS + [""] * (end == b"\n\n")
    assert [text for rows in given for text in rows] == expected
    rejected = json_lines(done.files["rejected"])
    assert [(row["line"], row["index"]) for row in rejected] == [(6, 5), (9, 8)]
    assert [row["reason"] for row in rejected] == [
        "not UTF-8: unexpected end of data, at byte 4", "not UTF-8: invalid continuation byte, at byte 1",
    ]  # fmt: skip
    assert json_lines(done.files["ids"]) == [index for index in range(len(expected) + 2) if index not in (5, 8)]


@pytest.mark.parametrize("most", [None, 20])
def test_chunks_are_the_same_in_blocks_of_any_size(model, tmp_path, monkeypatch, most):
    (tmp_path / "t.txt").write_bytes(b"\n".join(LINES * 3))
    if most is not None:
        monkeypatch.setattr("ironvec.bulk.chunks._MOST_CHARACTERS", most)
    found = []
    for size in (1, 2, 3, 10, 37, 1 << 18):
        monkeypatch.setattr("ironvec.bulk.lines._BLOCK", size)
        output = tmp_path / f"{size}.npy"
        embed_files(tmp_path / "t.txt", output, model, chunk_rows=5)
        manifest = json.loads((tmp_path / f"{size}.npy.manifest.json").read_text())
        found.append((left_behind(output), manifest["done"]["sha256"], manifest["inputs"][0]["rows"]))
    assert found[0][2] == len(LINES) * 3
    assert all(one == found[0] for one in found)


def test_texts_cut_at_another_place_are_other_rows(model, tmp_path):
    digests = set()
    for number, content in enumerate(("ab\nc\n", "a\nbc\n", "abc\n\n")):
        (tmp_path / f"{number}.txt").write_text(content)
        embed_files(tmp_path / f"{number}.txt", tmp_path / f"{number}.npy", model)
        digests.add(json.loads((tmp_path / f"{number}.npy.manifest.json").read_text())["done"]["sha256"])
    assert len(digests) == 3
