"""What an `Embedder` has for code written for a SentenceTransformer, without that package: names, errors, the table of
`docs/sentence_transformers.md`. With it: `integrations/test_sentence_transformers.py`."""

import copy
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from ironvec import Embedder
from ironvec.sentence_transformers_names import INSTEAD
from kit.texts import TEXTS
from kit.vectors import close

TABLE = Path(__file__).parent.parent / "docs" / "sentence_transformers.md"


def names(here: str) -> list[str]:
    """The names that the table calls same, different or absent."""
    rows = [line.split("|") for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert {row[2].strip() for row in rows} == {"same", "different", "absent"}
    return [name for row in rows if row[2].strip() == here for name in re.findall(r"`(\w+)`", row[1])]


def test_the_table_says_what_is_there(model):
    listed = names("same") + names("different") + names("absent")
    assert len(set(listed)) == len(listed) > 60
    for name in names("same") + names("different"):
        assert inspect.getattr_static(model, name) is not None
        getattr(model, name)
    assert set(names("absent")) == set(INSTEAD)


@pytest.mark.parametrize("name", INSTEAD)
def test_what_is_absent_says_what_to_use_instead(model, name):
    assert not hasattr(model, name)
    with pytest.raises(AttributeError) as error:
        getattr(model, name)
    assert str(error.value) == f"'Embedder' object has no attribute {name!r}; {INSTEAD[name]}"


def test_other_names_are_absent_without_advice(model):
    with pytest.raises(AttributeError, match=r"^'Embedder' object has no attribute 'dimensoin'$"):
        model.dimensoin  # noqa: B018
    assert copy.copy(model).dimension == model.dimension


def test_sizes_and_names(model, folder):
    assert model.get_embedding_dimension() == model.get_sentence_embedding_dimension() == model.dimension == 32
    assert Embedder(folder, truncate_dim=8).get_embedding_dimension() == 8
    assert model.get_max_seq_length() == model.max_seq_length == model.max_length == 64
    assert (model.similarity_fn_name, model.default_prompt_name) == ("cosine", None)
    assert str(model.device) == "cpu"
    assert model.model_card_data.base_model == str(folder)


def test_lengths_are_not_set_afterwards(model):
    with pytest.raises(AttributeError, match=r"max_seq_length cannot be set: Embedder\(\.\.\., max_length=12\)"):
        model.max_seq_length = 12


def test_calling_it_says_what_to_call(model):
    with pytest.raises(TypeError, match=r"Embedder is called by its methods: encode\(texts\) gives the vectors"):
        model({"input_ids": [[1]]})


def test_a_pool_has_no_processes(model, rows):
    with pytest.warns(UserWarning, match="one process with all cores already") as warned:
        pool = model.start_multi_process_pool(["cpu"] * 4)
    assert Path(warned[0].filename).name == Path(__file__).name
    close(model.encode_multi_process(TEXTS, pool, chunk_size=2), rows)
    close(model.encode(TEXTS, pool=pool), rows)
    close(model.encode_multi_process(sentences=TEXTS, pool=pool, truncate_dim=3, batch_size=1), _cut(rows, 3))
    model.stop_multi_process_pool(pool)
    with pytest.raises(ValueError, match="target_devices names 'cuda:1', but this Embedder runs on 'cpu'"):
        model.start_multi_process_pool(["cuda:0", "cuda:1"][1:])
    with pytest.raises(ValueError, match="there are no process pools"):
        model.encode(TEXTS, pool={"processes": [object()]})


def _cut(rows: np.ndarray, dimension: int) -> np.ndarray:
    return rows[:, :dimension] / np.linalg.norm(rows[:, :dimension], axis=1, keepdims=True)
