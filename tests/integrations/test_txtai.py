"""txtai: the prompts, and an index on disk that another process opens by its config alone."""

import json

import pytest

from kit.interpreter import python
from kit.packages import package
from kit.vectors import close

package("ironvec.integrations.txtai")
Embeddings = package("txtai").Embeddings

METHOD = "ironvec.integrations.txtai.IronvecVectors"


def test_queries_and_data_get_their_prompts(folder, expected):
    embeddings = Embeddings(method=METHOD, path=folder)
    close(embeddings.batchtransform(expected.texts, "query"), expected.query)
    close(embeddings.batchtransform(expected.texts, "data"), expected.document)
    close(embeddings.batchtransform(expected.texts, "other"), expected.plain)
    close(embeddings.transform(expected.texts[0]), expected.query[0])


def test_options_and_batches(folder, expected):
    embeddings = Embeddings(method=METHOD, path=folder, vectors={"truncate_dim": 16}, encodebatch=1)
    assert embeddings.batchtransform(expected.texts, "data").shape == (4, 16)
    # txtai names the method that it could not make; the reason is its cause.
    with pytest.raises(ImportError) as caught:
        Embeddings(method=METHOD, path=folder, vectors={"dtyp": "int8"})
    assert "dtyp" in str(caught.value.__cause__)


_OPEN = """
import sys
from txtai import Embeddings
embeddings = Embeddings()
embeddings.load(sys.argv[1])
[(found, score)] = embeddings.search(sys.argv[2], 1)
print(found, score)
"""


def test_an_index_on_disk_opens_in_another_process(folder, expected, tmp_path):
    embeddings = Embeddings(method=METHOD, path=folder)
    embeddings.index(expected.texts[:3])
    embeddings.save(str(tmp_path / "index"))
    kept = json.loads((tmp_path / "index" / "config.json").read_text(encoding="utf-8"))
    assert (kept["path"], kept["method"], kept["dimensions"]) == (folder, METHOD, 32)
    found, score = python(_OPEN, tmp_path / "index", expected.texts[1], timeout_s=600).split()
    scores = expected.query[1] @ expected.document[:3].T
    assert int(found) == scores.argmax()
    assert float(score) == pytest.approx(scores.max(), abs=1e-5)
