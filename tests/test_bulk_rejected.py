"""Bad rows: each kind, in each format, is put aside with its place and the reason, and the others are embedded."""

import json

import numpy as np
import pytest

from ironvec.bulk import RowRejected, embed_files
from ironvec.bulk.lines import lines
from kit.bulk import json_lines

GOOD = ["the cat", "a dog", "paris"]


def embedded(path, model, **options):
    """The rejected rows' numbers and reasons, after a look at the good ones."""
    done = embed_files(path, path.with_suffix(".npy"), model, **options)
    vectors = np.load(done.output)
    np.testing.assert_allclose(vectors, model.encode(GOOD), atol=1e-5)
    rejected = json_lines(done.files["rejected"])
    assert (done.rows, done.rejected) == (len(GOOD), len(rejected))
    assert {row["input"] for row in rejected} == {str(path)}
    indices = {row["index"] for row in rejected}
    if "id_column" not in options:
        assert json_lines(done.files["ids"]) == sorted(set(range(len(GOOD) + len(rejected))) - indices)
    return [(row.get("line", row.get("row")), row["reason"]) for row in rejected]


def reasons(path, model, content, **options):
    path.write_bytes(b"".join(line + b"\n" for line in content))
    return embedded(path, model, **options)


def test_of_a_text_file(tmp_path, model):
    content = [b"\xef\xbb\xbfthe cat\r", b"caf\xe9", b"a dog", b"\xed\xa0\x80", b"paris"]
    assert reasons(tmp_path / "t.txt", model, content) == [
        (2, "not UTF-8: unexpected end of data, at byte 4"),
        (4, "not UTF-8: invalid continuation byte, at byte 1"),
    ]


JSONL = {
    b"{": "not JSON: Expecting property name enclosed in double quotes, at character 2",
    b'{"text": "a"} {}': "not JSON: Extra data, at character 15",
    b'{"text": "\xff"}': "not UTF-8: invalid start byte, at byte 11",
    b"[1]": "an array, not an object",
    b'"text"': "a string, not an object",
    b"null": "null, not an object",
    b"{}": "has no 'text'",
    b'{"Text": "a"}': "has no 'text'",
    b'{"text": null}': "'text' is null, not a string",
    b'{"text": 3}': "'text' is a number, not a string",
    b'{"text": true}': "'text' is a boolean, not a string",
    b'{"text": ["a"]}': "'text' is an array, not a string",
    b'{"text": "\\ud800"}': "'text' holds half a surrogate pair, which is no character",
    b'{"text": ' + b"[" * 200_000: "not JSON that can be read: maximum recursion depth exceeded",
    b'{"text": ' + b"1" * 10_000 + b"}": "not JSON that can be read: Exceeds the limit",
}


def test_of_json_lines(tmp_path, model):
    good = [json.dumps({"text": text}).encode() for text in GOOD]
    # Empty lines are no rows.
    content = [good[0], b"", *JSONL, b"   \t\r", *good[1:]]
    found = reasons(tmp_path / "t.jsonl", model, content)
    assert [number for number, _ in found] == list(range(3, 3 + len(JSONL)))
    for (_, reason), expected in zip(found, JSONL.values(), strict=True):
        assert reason.startswith(expected)


@pytest.mark.parametrize(
    ("identifier", "reason"),
    [
        (b"", "has no 'id'"),
        (b', "id": null', "'id' is null, not a string or an integer"),
        (b', "id": 1.5', "'id' is a number, not a string or an integer"),
        (b', "id": true', "'id' is a boolean, not a string or an integer"),
        (b', "id": "\\udc00"', "'id' holds half a surrogate pair, which is no character"),
    ],
)
def test_of_ids(tmp_path, model, identifier, reason):
    good = [json.dumps({"text": text, "id": index}).encode() for index, text in enumerate(GOOD)]
    content = [*good, b'{"text": "a"' + identifier + b"}"]
    assert reasons(tmp_path / "t.jsonl", model, content, id_column="id") == [(4, reason)]
    assert json_lines(tmp_path / "t.npy.ids.jsonl") == ["0", "1", "2"]


def test_of_csv(tmp_path, model):
    content = [b"\xef\xbb\xbfid,text\r", b"1,the cat\r", b"2", b"3,a,b", b"", b'4,"a" dog', b"5,caf\xe9"]
    content += [b'6,"a\ndog"', b'7,a\x00"b', b"8,paris", b'9,"and so on']
    path = tmp_path / "t.csv"
    path.write_bytes(b"\n".join(content))
    done = embed_files(path, tmp_path / "v.npy", model)
    found = [(row["line"], row["reason"]) for row in json_lines(done.files["rejected"])]
    assert found[:4] == [
        (3, "has 1 fields, the header has 2"),
        (4, "has 3 fields, the header has 2"),
        (6, "not CSV: ',' expected after '\"'"),
        (7, "not UTF-8"),
    ]
    assert found[-1] == (12, "not CSV: unexpected end of data")
    vectors = np.load(done.output)
    np.testing.assert_allclose(vectors[[0, 1, -1]], model.encode(["the cat", "a\ndog", "paris"]), atol=1e-5)


def test_of_parquet(tmp_path, model):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    texts = [GOOD[0], None, GOOD[1], b"caf\xe9", GOOD[2], "no id"]
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    binary = pyarrow.array(encoded, pyarrow.binary())
    column = pyarrow.Array.from_buffers(pyarrow.string(), len(binary), binary.buffers())
    table = pyarrow.table({"text": column, "id": pyarrow.array([0, 1, 2, 3, 4, None], pyarrow.int64())})
    path = tmp_path / "t.parquet"
    parquet.write_table(table, path)
    assert embedded(path, model, id_column="id") == [
        (2, "'text' is null, not a string"),
        (4, "'text' is not UTF-8"),
        (6, "'id' is null, not a string or an integer"),
    ]
    assert json_lines(tmp_path / "t.npy.ids.jsonl") == ["0", "2", "4"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"other": ["a"]}, "has no column 'text'; there are: 'other'"),
        ({"text": [1]}, "column 'text' is int64; expected string"),
        ({"text": [["a"]]}, "column 'text' is list"),
        ({"text": ["a"], "id": [1.5]}, "column 'id' is double; expected string or integer"),
    ],
)
def test_a_parquet_file_without_such_texts_is_refused(tmp_path, model, columns, message):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=f"t.parquet: {message}"):
        embed_files(tmp_path / "t.parquet", tmp_path / "v.npy", model, id_column="id" if "id" in columns else None)


def test_a_file_that_is_no_parquet_is_refused(tmp_path, model):
    pytest.importorskip("pyarrow")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"t.parquet: cannot be read as parquet"):
        embed_files(tmp_path / "t.parquet", tmp_path / "v.npy", model)


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv"])
def test_a_line_without_end_is_not_held(tmp_path, model, monkeypatch, kind):
    monkeypatch.setattr("ironvec.bulk.lines.LONGEST", 1000)
    monkeypatch.setattr("ironvec.bulk.lines._BLOCK", 100)
    texts = [GOOD[0], "a" * 5000, *GOOD[1:]]
    if kind == "jsonl":
        texts = [json.dumps({"text": text}) for text in texts]
    content = [text.encode() for text in texts]
    header = [b"text"] if kind == "csv" else []
    found = reasons(tmp_path / f"t.{kind}", model, header + content)
    assert found == [(3 if kind == "csv" else 2, "longer than 16,777,216 bytes")]


class Blocks:
    """A file that comes in pieces."""

    def __init__(self, pieces):
        self._pieces = list(pieces)

    def read(self, size):
        return self._pieces.pop(0) if self._pieces else b""


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a", b"a\n", b"\n\n", b"a\n\nb", b"ab\ncd\n\n\nefg", b"\xef\xbb\xbfa\nb"]
)
def test_lines_do_not_depend_on_how_they_come(content):
    expected = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not expected[-1]:
        expected.pop()
    for size in range(1, len(content) + 1):
        pieces = [content[first : first + size] for first in range(0, len(content), size)]
        assert list(lines(Blocks(pieces))) == expected
    assert list(lines(Blocks([content]))) == expected


def test_an_input_that_does_not_wait_is_not_taken_for_its_end():
    with pytest.raises(BlockingIOError, match="O_NONBLOCK"):
        list(lines(Blocks([b"a\n", None])))


def test_strict_stops_at_the_first_and_keeps_what_was_before(tmp_path, model):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"text": "{text}"}}\n' for text in GOOD) + "{}\n")
    with pytest.raises(RowRejected, match=r"t.jsonl, line 4: has no 'text'$"):
        embed_files(path, tmp_path / "v.npy", model, strict=True, chunk_rows=2)
    assert not (tmp_path / "v.npy").exists()
    # Without it, the same job goes on from there.
    done = embed_files(path, tmp_path / "v.npy", model, chunk_rows=2)
    assert (done.rows, done.rejected, done.rows_before) == (3, 1, 2)
    with pytest.raises(RowRejected):
        embed_files(path, tmp_path / "w.npy", model, strict=True, overwrite=True)


def test_a_vector_that_is_no_number_is_rejected(tmp_path, model, monkeypatch):
    encode = type(model)._encode_rows

    def broken(self, rows, **keywords):
        vectors = encode(self, rows, **keywords)
        vectors[[row == "bad" for row in rows], 3] = np.nan
        return vectors

    path = tmp_path / "t.txt"
    path.write_text("\n".join([GOOD[0], "bad", "bad", *GOOD[1:]]))
    expected = model.encode(GOOD)
    monkeypatch.setattr(type(model), "_encode_rows", broken)
    done = embed_files(path, tmp_path / "v.npy", model)
    np.testing.assert_allclose(np.load(done.output), expected, atol=1e-5)
    assert json_lines(done.files["ids"]) == [0, 3, 4]
    assert json_lines(done.files["rejected"]) == [
        {"index": index, "reason": "its vector holds NaN or infinity"} for index in (1, 2)
    ]


def test_bad_rows_alone_make_an_empty_output(tmp_path, model):
    (tmp_path / "t.jsonl").write_text("bad\n" * 5)
    done = embed_files(tmp_path / "t.jsonl", tmp_path / "v.npy", model, chunk_rows=2)
    assert (done.rows, done.rejected) == (0, 5)
    assert np.load(done.output).shape == (0, 32)
