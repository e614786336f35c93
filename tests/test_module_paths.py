"""The paths of modules.json, where sentence-transformers takes them and where it does not: empty ones are the folder of
the model, whose config.json is that of the Transformer and of no Pooling."""

import json
import re
import shutil

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit.checkpoints import write_json


@pytest.mark.parametrize("path", ["", ".", "2_Normalize"])
def test_a_normalize_module_needs_no_folder_of_its_own(bert, path):
    folder = bert(pooling="cls").folder
    expected = Embedder(folder).encode("paris")
    modules = json.loads((folder / "modules.json").read_text())
    modules[2]["path"] = path
    write_json(folder / "modules.json", modules)
    model = Embedder(folder)
    assert (model.normalize, model.pooling) == (True, "cls")
    np.testing.assert_array_equal(model.encode("paris"), expected)


def test_a_pooling_module_in_the_folder_of_the_model_beside_a_transformer_elsewhere(bert):
    folder = bert(pooling="cls").folder
    expected = Embedder(folder).encode("paris")
    (folder / "0_Transformer").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(folder / "0_Transformer" / name)
    shutil.move(folder / "1_Pooling" / "config.json", folder / "config.json")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"], modules[1]["path"] = "0_Transformer", ""
    write_json(folder / "modules.json", modules)
    model = Embedder(folder)
    assert model.pooling == "cls"
    np.testing.assert_array_equal(model.encode("paris"), expected)


def types(folder) -> list[str]:
    return [module["type"] for module in json.loads((folder / "modules.json").read_text())]


@pytest.mark.parametrize("path", ["", ".", "./", "./."])
def test_a_pooling_module_in_the_folder_of_the_transformer(bert, path):
    folder = bert(pooling="cls").folder
    transformer, pooling, _ = types(folder)
    write_json(folder / "modules.json", [{"type": transformer, "path": ""}, {"type": pooling, "path": path}])
    message = f'modules.json: module 1: path is "{path}"; supported: a folder with a config.json of its own'
    with pytest.raises(ModelError, match=re.escape(message)):
        Embedder(folder)


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(("path", "found"), [({}, "missing"), ({"path": None}, "null"), ({"path": 3}, "3")])
def test_a_path_that_is_none(bert, position, path, found):
    folder = bert(pooling="cls").folder
    paths = [{"path": ""}, {"path": "1_Pooling"}, {"path": ""}]
    paths[position] = path
    modules = [{"type": kind, **path} for kind, path in zip(types(folder), paths, strict=True)]
    write_json(folder / "modules.json", modules)
    message = rf"modules\.json: module {position}: path is {found}; supported: a string: the module's folder"
    with pytest.raises(ModelError, match=message):
        Embedder(folder)


def test_a_config_of_a_model_in_the_place_of_a_pooling(bert):
    folder = bert(pooling="cls").folder
    shutil.copy(folder / "config.json", folder / "1_Pooling" / "config.json")
    with pytest.raises(ModelError, match=r'1_Pooling.config\.json: model_type is "bert"; supported: absent from the'):
        Embedder(folder)
