"""Bulk jobs through the Python face: what is written, from which inputs, in which order."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ironvec import Embedder
from ironvec.bulk import Refused, embed_files
from kit.bulk import json_lines, left_behind, texts, write_objects, write_texts

ROWS = texts(300)


def vectors_of(model, rows, chunk_rows):
    """What `encode` makes of each chunk."""
    chunks = [model.encode(rows[first : first + chunk_rows]) for first in range(0, len(rows), chunk_rows)]
    return np.concatenate(chunks)


@pytest.fixture
def lines(tmp_path):
    return write_texts(tmp_path / "texts.txt", ROWS)


def test_npy_holds_what_encode_gives_of_each_chunk(lines, model, tmp_path):
    done = embed_files(lines, tmp_path / "v.npy", model, chunk_rows=64)
    assert (done.rows, done.rejected, done.dimension, done.rows_before) == (300, 0, 32, 0)
    assert set(done.files) == {"ids", "manifest"}
    read = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert (read.dtype, read.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(read, vectors_of(model, ROWS, 64))
    np.testing.assert_allclose(read, model.encode(ROWS), atol=1e-5)
    assert json_lines(done.files["ids"]) == list(range(300))
    np.save(tmp_path / "by_numpy.npy", np.array(read))
    assert (tmp_path / "by_numpy.npy").read_bytes() == (tmp_path / "v.npy").read_bytes()


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("with_ids", [False, True])
def test_parquet_has_ids_and_vectors_in_row_groups(model, tmp_path, lists, with_ids, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("ironvec.bulk.parquet_output._GROUP_BYTES", 100 * 32 * 4)
    rows = [{"text": text, "key": f"k{index}"} for index, text in enumerate(ROWS)]
    source = write_objects(tmp_path / "texts.jsonl", rows)
    embed_files(
        source, tmp_path / "v.parquet", model, chunk_rows=64, lists=lists, id_column="key" if with_ids else None
    )
    table = parquet.read_table(tmp_path / "v.parquet")
    kind = "list<element: float not null>" if lists else "fixed_size_list<element: float not null>[32]"
    assert str(table.schema.field("embedding").type) == kind
    assert str(table.schema.field("id").type) == ("string" if with_ids else "int64")
    assert table["id"].to_pylist() == [row["key"] for row in rows] if with_ids else list(range(300))
    read = np.array(table["embedding"].to_pylist(), np.float32)
    np.testing.assert_array_equal(read, vectors_of(model, ROWS, 64))
    groups = parquet.ParquetFile(tmp_path / "v.parquet").metadata
    assert [groups.row_group(index).num_rows for index in range(groups.num_row_groups)] == [100, 100, 100]


def test_jsonl_says_which_float_is_meant(lines, model, tmp_path):
    embed_files(lines, tmp_path / "v.jsonl", model, chunk_rows=64)
    rows = json_lines(tmp_path / "v.jsonl")
    assert [row["id"] for row in rows] == list(range(300))
    read = np.array([row["embedding"] for row in rows]).astype(np.float32)
    np.testing.assert_array_equal(read, vectors_of(model, ROWS, 64))


@pytest.mark.parametrize("kind", ["npy", "jsonl", "parquet"])
def test_no_rows_are_an_empty_output(tmp_path, model, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    done = embed_files(write_texts(tmp_path / "none.txt", []), tmp_path / f"v.{kind}", model)
    assert (done.rows, done.dimension) == (0, 32)
    if kind == "npy":
        assert np.load(tmp_path / "v.npy").shape == (0, 32)


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv", "parquet"])
def test_every_input_gives_the_same(tmp_path, model, kind):
    rows = [*ROWS[:40], "", "commas, \"quotes\" and 'more'", "Zürich \u2028 東京 🙂", "  spaces  "]
    source = tmp_path / f"texts.{kind}"
    if kind == "txt":
        write_texts(source, rows)
    elif kind == "jsonl":
        write_objects(source, [{"id": index, "text": row} for index, row in enumerate(rows)])
    elif kind == "csv":
        quoted = [row.replace('"', '""') for row in rows]
        write_texts(source, ["id,text", *(f'{index},"{row}"' for index, row in enumerate(quoted))])
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"id": range(len(rows)), "text": rows}), source, row_group_size=7)
    done = embed_files(source, tmp_path / "v.npy", model, id_column=None if kind == "txt" else "id")
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), model.encode(rows))
    expected = [index if kind == "txt" else str(index) for index in range(len(rows))]
    assert json_lines(done.files["ids"]) == expected


def test_folders_and_patterns_are_read_in_order_and_without_the_output(tmp_path, model):
    data = tmp_path / "data"
    (data / "inner").mkdir(parents=True)
    for name, row in {"b.txt": "b", "a.txt": "a", "inner/c.TXT": "c", "read.me": "no", ".hidden.txt": "no"}.items():
        write_texts(data / name, [row])
    write_objects(data / "d.ndjson", [{"text": "d"}])
    embed_files(data, data / "v.npy", model)
    expected = model.encode(["a", "b", "d", "c"])
    np.testing.assert_array_equal(np.load(data / "v.npy"), expected)
    # Again, with what the first time has left lying in the folder.
    assert embed_files(data, data / "v.npy", model).rows_before == 4
    # Another job's side files are no texts.
    (data / "u.npy.partial").mkdir()
    for name in ("u.npy.ids.jsonl", "u.parquet.rejected.jsonl", "u.npy.partial/ids.jsonl"):
        write_texts(data / name, ["0"])
    embed_files(data, data / "w.npy", model)
    np.testing.assert_array_equal(np.load(data / "w.npy"), expected)
    embed_files([data / "d.ndjson", str(data / "*.txt")], tmp_path / "w.npy", model)
    np.testing.assert_array_equal(np.load(tmp_path / "w.npy"), model.encode(["d", "a", "b"]))


def test_options_reach_the_model(lines, folder, tmp_path):
    model = Embedder(folder, truncate_dim=8, max_length=6)
    embed_files(
        lines, tmp_path / "v.npy", folder, truncate_dim=8, max_length=6, threads=1, prompt="query: ", normalize=False,
        batch_size=3, chunk_rows=300,
    )  # fmt: skip
    expected = model.encode(ROWS, prompt="query: ", normalize_embeddings=False, batch_size=3)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-5)
    embed_files(lines, tmp_path / "w.npy", Embedder(folder, prompts={"query": "query: "}), prompt_name="query")
    np.testing.assert_allclose(np.load(tmp_path / "w.npy"), Embedder(folder).encode(ROWS, prompt="query: "), atol=1e-5)


def test_long_rows_make_smaller_chunks(lines, model, tmp_path, monkeypatch):
    monkeypatch.setattr("ironvec.bulk.chunks._MOST_CHARACTERS", 100)
    sizes = []
    encode = type(model)._encode_rows

    def counted(self, rows, **keywords):
        sizes.append(sum(map(len, rows)))
        return encode(self, rows, **keywords)

    monkeypatch.setattr(type(model), "_encode_rows", counted)
    embed_files(lines, tmp_path / "v.npy", model)
    assert len(sizes) > 50
    assert max(sizes) < 100 + max(map(len, ROWS))
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), model.encode(ROWS), atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "output", "options", "message"),
    [
        (["texts.txt"], "v.pt", {}, r"must end in .npy, .parquet or .jsonl"),
        (["texts.txt"], "v.npy", {"lists": True}, "about .parquet"),
        (["texts.txt"], "none/v.npy", {}, "no such folder"),
        (["texts.txt", "./texts.txt"], "v.npy", {}, "named twice"),
        ([], "v.npy", {}, "no input"),
        (["texts.txt"], "v.npy", {"input_format": "xml"}, "'xml' is not one that is read: txt, jsonl, csv, parquet"),
        (["texts.txt"], "v.npy", {"id_column": "id"}, "has no columns"),
        (["texts.gz"], "v.npy", {}, "compressed files are not read"),
        (["texts.dat"], "v.npy", {}, "--format"),
        (["empty"], "v.npy", {}, "no file in this folder"),
        (["v.npy.ids.jsonl"], "v.npy", {}, "belongs to the output"),
        (["head.csv"], "v.npy", {}, r"head.csv: has no column 'text'; its header: 'a', 'b'"),
        (["twice.csv"], "v.npy", {}, "has 2 columns 'text'"),
        (["empty.csv"], "v.npy", {}, "the file is empty"),
        (["-"], "v.npy", {"input_format": "parquet"}, "read from its end"),
        (["texts.txt"], "v.npy", {"chunk_rows": 0}, "chunk_rows is 0"),
        (["texts.txt"], "v.npy", {"prompt_name": "none"}, "prompt_name='none' is not among"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(lines, model, tmp_path, monkeypatch, inputs, output, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("texts.gz", "texts.dat", "v.npy.ids.jsonl", "empty.csv"):
        (tmp_path / name).touch()
    write_texts(tmp_path / "head.csv", ["a,b", "1,2"])
    write_texts(tmp_path / "twice.csv", ["text,text", "1,2"])
    before = sorted(os.listdir())
    with pytest.raises(ValueError, match=message):
        embed_files(inputs, output, model, **options)
    assert sorted(os.listdir()) == before, "nothing is left behind"


@pytest.mark.parametrize("name", ["none.txt", "none*.txt", "no/such/*.jsonl"])
def test_an_input_that_is_not_there(tmp_path, model, name):
    with pytest.raises(FileNotFoundError, match=r"none|no/such"):
        embed_files(str(tmp_path / name), tmp_path / "v.npy", model)


def test_arguments_of_a_model_that_is_loaded_are_refused(lines, model, tmp_path):
    with pytest.raises(TypeError, match="dtype: an Embedder has its own already"):
        embed_files(lines, tmp_path / "v.npy", model, dtype="int8")
    with pytest.raises(TypeError, match="text_column is int"):
        embed_files(lines, tmp_path / "v.npy", model, text_column=3)


@pytest.mark.slow
def test_without_pyarrow_parquet_says_what_to_install_and_the_rest_works(tmp_path, folder):
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from ironvec.bulk import embed_files\n"
        "for name in ('t.txt', 't.jsonl', 't.csv'):\n"
        "    print(embed_files(name, name + '.npy', sys.argv[1]).rows)\n"
        "    print(embed_files(name, name + '.out.jsonl', sys.argv[1]).rows)\n"
        "for files in (('t.txt', 'v.parquet'), ('t.parquet', 'v.npy')):\n"
        "    try: embed_files(*files, sys.argv[1])\n"
        "    except ValueError as error: print(error)\n"
    )
    write_texts(tmp_path / "t.txt", ["a"])
    write_objects(tmp_path / "t.jsonl", [{"text": "a"}])
    write_texts(tmp_path / "t.csv", ["text", "a"])
    (tmp_path / "t.parquet").touch()
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[:6] == ["1"] * 6, done.stderr
    assert len(done.stdout.splitlines()) == 8
    assert all("pip install 'ironvec[arrow]'" in line for line in done.stdout.splitlines()[6:])


def test_the_manifest_says_what_the_output_is_made_of(lines, model, tmp_path):
    done = embed_files(lines, tmp_path / "v.npy", model)
    manifest = json.loads((tmp_path / "v.npy.manifest.json").read_text())
    assert done.files["manifest"] == str(tmp_path / "v.npy.manifest.json")
    assert manifest["done"] == {
        "read": 300, "rows": 300, "rejected": 0, "dimension": 32, "sha256": manifest["done"]["sha256"],
        "output_bytes": (tmp_path / "v.npy").stat().st_size,
    }  # fmt: skip
    assert manifest["inputs"][0]["rows"] == 300
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= manifest["model"].keys()
    assert set(left_behind(tmp_path / "v.npy")) == {"", ".ids.jsonl"}


def test_refused_is_a_value_error():
    assert issubclass(Refused, ValueError)
