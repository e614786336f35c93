"""Dense, LayerNorm and Normalize after the pooling, against NumPy; what is not done is refused by name."""

import math
import pickle

import numpy as np
import pytest

from ironvec import Embedder, ModelError
from kit.checkpoints import MODULE_TYPES_6, MODULE_TYPES_UP_TO_5_3, write_bert, write_json, write_safetensors
from kit.families.layout import write_modules
from kit.torch_files import saved

TEXTS = ["the capital of france is paris", "boil water", "", "a river in the city and a dog on the mat"]
HIDDEN = 32
TANH, IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"
RELU, SIGMOID = "torch.nn.modules.activation.ReLU", "torch.nn.modules.activation.Sigmoid"
ACTIVATIONS = {TANH: np.tanh, IDENTITY: lambda x: x, RELU: lambda x: np.maximum(x, 0),
               SIGMOID: lambda x: 1 / (1 + np.exp(-x))}  # fmt: skip
OLD = "sentence_transformers.models."
NEW = {
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "LayerNorm": "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
}


class Model:
    """A BERT whose modules after the pooling a test adds, and what they do in NumPy."""

    def __init__(self, folder):
        self.folder = write_bert(folder, normalize=False).folder
        self.pooled = Embedder(self.folder).encode(TEXTS).astype(np.float64)
        self.modules = [("", MODULE_TYPES_UP_TO_5_3[0]), ("1_Pooling", MODULE_TYPES_UP_TO_5_3[1])]
        self.steps = []
        self.random = np.random.default_rng(9)

    def add(self, kind, config=None, tensors=None, *, torch=False, types=OLD):
        path = f"{len(self.modules)}_{kind}"
        (self.folder / path).mkdir()
        if config is not None:
            write_json(self.folder / path / "config.json", config)
        tensors = {name: values.astype(np.float32) for name, values in (tensors or {}).items()}
        if tensors and torch:
            (self.folder / path / "pytorch_model.bin").write_bytes(saved(tensors))
        elif tensors:
            stored = {name: ("F32", values) for name, values in tensors.items()}
            write_safetensors(self.folder / path / "model.safetensors", stored)
        self.modules.append((path, types[kind] if isinstance(types, dict) else types + kind))
        write_modules(self.folder, self.modules)
        return tensors

    def dense(self, inputs=HIDDEN, outputs=24, *, bias=True, residual=False, drop=(), torch=False, types=OLD, **fields):
        config = {"in_features": inputs, "out_features": outputs, "bias": bias, "activation_function": TANH, **fields}
        if residual:
            config["use_residual"] = True
        tensors = {"linear.weight": self.random.standard_normal((outputs, inputs)) / math.sqrt(inputs)}
        if bias:
            tensors["linear.bias"] = self.random.standard_normal(outputs)
        if residual and inputs != outputs:
            tensors["residual.weight"] = self.random.standard_normal((outputs, inputs))
        tensors = {name: values for name, values in tensors.items() if name not in drop}
        config = {key: value for key, value in config.items() if key not in drop}
        kept = self.add("Dense", config, tensors, torch=torch, types=types)
        act = ACTIVATIONS.get(config.get("activation_function", TANH))

        def step(x):
            made = act(x @ kept["linear.weight"].T + kept.get("linear.bias", 0))
            return made + (x @ kept["residual.weight"].T if "residual.weight" in kept else x if residual else 0)

        self.steps.append(step)

    def layer_norm(self, size=HIDDEN, **options):
        scale, shift = self.random.standard_normal((2, size))
        kept = self.add("LayerNorm", {"dimension": size}, {"norm.weight": scale, "norm.bias": shift}, **options)

        def step(x):
            normal = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
            return normal * kept["norm.weight"] + kept["norm.bias"]

        self.steps.append(step)

    def normalize(self, config=None, types=OLD):
        self.add("Normalize", config, types=types)
        self.steps.append(unit)

    def expected(self):
        rows = self.pooled
        for step in self.steps:
            rows = step(rows)
        return rows

    def check(self):
        model, expected = Embedder(self.folder), self.expected()
        vectors = model.encode(TEXTS)
        assert model.dimension == expected.shape[1]
        assert vectors.dtype == np.float32
        assert vectors.shape == expected.shape
        assert np.abs(vectors - expected).max() < 2e-6 * max(1, np.abs(expected).max())
        return model, expected

    def refused(self, *parts):
        with pytest.raises((ModelError, FileNotFoundError)) as caught:
            Embedder(self.folder)
        for part in parts:
            assert part in str(caught.value), str(caught.value)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def model(tmp_path):
    return Model(tmp_path / "model")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_dense(activation, bias, model):
    model.dense(activation_function=activation, bias=bias)
    model.check()


@pytest.mark.parametrize("outputs", [HIDDEN, 24])
def test_dense_with_its_input_added(outputs, model):
    model.dense(outputs=outputs, residual=True)
    model.check()


def test_dense_says_little(model):
    """Without a word: tanh, with a bias. `module_output_name` is null where it is the input's."""
    model.dense(drop=("activation_function", "bias"), module_input_name="sentence_embedding", module_output_name=None)
    model.check()


def test_dense_in_a_torch_file(model):
    model.dense(torch=True)
    model.layer_norm(24, torch=True)
    model.check()


def test_a_long_head_under_both_names_of_classes(tmp_path):
    for index, types in enumerate((OLD, NEW)):
        model = Model(tmp_path / str(index))
        model.dense(outputs=48, types=types)
        model.normalize(types=types)
        model.layer_norm(48, types=types)
        model.dense(48, 12, bias=False, activation_function=IDENTITY, types=types)
        model.normalize({"module_input_name": "sentence_embedding", "module_output_name": None}, types=types)
        model.check()
    assert MODULE_TYPES_6[2] == NEW["Normalize"]


def test_normalize_in_the_middle_is_not_the_callers(model):
    model.normalize()
    model.dense(activation_function=IDENTITY)
    loaded, expected = model.check()
    assert np.abs(loaded.encode(TEXTS, normalize_embeddings=False) - expected).max() < 2e-6 * np.abs(expected).max()
    assert np.abs(loaded.encode(TEXTS, normalize_embeddings=True) - unit(expected)).max() < 1e-6


def test_truncation_and_normalization_come_after_the_head(model):
    model.dense(outputs=24)
    model.normalize()
    loaded, expected = model.check()
    raw = model.steps[0](model.pooled)
    assert np.abs(loaded.encode(TEXTS, normalize_embeddings=False) - raw).max() < 1e-5
    cut = loaded.encode(TEXTS, truncate_dim=10)
    assert np.abs(cut - unit(raw[:, :10])).max() < 1e-6
    with pytest.raises(ValueError, match="truncate_dim"):
        loaded.encode(TEXTS, truncate_dim=25)
    shorter = Embedder(model.folder, truncate_dim=10)
    assert shorter.dimension == 10
    assert np.abs(shorter.encode(TEXTS) - cut).max() == 0
    assert expected.shape[1] == 24


def test_a_head_wider_than_the_model_may_be_cut_wider_too(model):
    model.dense(outputs=64, activation_function=IDENTITY)
    loaded, expected = model.check()
    assert np.abs(loaded.encode(TEXTS, truncate_dim=50) - expected[:, :50]).max() < 1e-5


def test_rows_do_not_depend_on_each_other_and_one_text_is_one_row(model):
    model.dense()
    loaded, _ = model.check()
    together = loaded.encode(TEXTS)
    alone = np.stack([loaded.encode(text) for text in TEXTS])
    assert np.abs(alone - together).max() < 2e-6
    assert loaded.encode([]).shape == (0, 24)
    assert np.abs(loaded.encode(TEXTS, batch_size=1) - together).max() < 2e-6


def test_a_pickled_embedder_has_its_head(model):
    model.dense(outputs=24)
    loaded, _ = model.check()
    again = pickle.loads(pickle.dumps(loaded))
    assert again.dimension == 24
    assert (again.encode(TEXTS) == loaded.encode(TEXTS)).all()


def test_widths_that_do_not_follow(model):
    model.dense(31)
    model.refused("2_Dense", "config.json", "31", "32")


def test_widths_that_do_not_follow_later(model):
    model.dense(outputs=24)
    model.layer_norm(23)
    model.refused("3_LayerNorm", "config.json", "23", "24")


def test_a_residual_between_widths_without_its_matrix(model):
    model.dense(residual=True, drop=("residual.weight",))
    model.refused("2_Dense", "use_residual", "residual.weight")


@pytest.mark.parametrize("tensor", ["linear.weight", "linear.bias"])
def test_a_missing_tensor(tensor, model):
    model.dense(drop=(tensor,))
    model.refused("2_Dense", "model.safetensors", tensor)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("activation_function", "torch.nn.modules.activation.GELU"),
        ("activation_function", "mine.Swish"),
        ("activation_function", ""),
        ("activation_function", 3),
        ("bias", "yes"),
        ("use_residual", 1),
        ("in_features", 0),
        ("in_features", -32),
        ("in_features", 1 << 40),
        ("out_features", None),
        ("out_features", 24.5),
        ("module_input_name", "token_embeddings"),
        ("module_output_name", "other"),
        ("module_input_name", 1),
    ],
)
def test_fields_that_are_refused_by_name(field, value, model):
    model.dense()
    config = {"in_features": 32, "out_features": 24, "bias": True, "activation_function": TANH, field: value}
    write_json(model.folder / "2_Dense" / "config.json", config)
    model.refused("2_Dense", "config.json", field)


def test_weights_of_another_shape(model):
    model.dense()
    write_json(model.folder / "2_Dense" / "config.json", {"in_features": 32, "out_features": 23})
    model.refused("2_Dense", "linear.weight", "[24, 32]", "[23, 32]")


@pytest.mark.parametrize("last", [True, False])
def test_a_normalize_of_something_else(last, model):
    model.normalize({"module_input_name": "token_embeddings"})
    if not last:
        model.dense()
    model.refused("2_Normalize", "module_input_name", "token_embeddings")


def test_no_config_and_no_weights(model):
    model.add("Dense")
    model.refused("2_Dense", "config.json")
    write_json(model.folder / "2_Dense" / "config.json", {"in_features": 32, "out_features": 24})
    model.refused("2_Dense", "model.safetensors")


@pytest.mark.parametrize("kind", ["Dropout", "CNN", "LSTM", "WeightedLayerPooling", "Pooling", "Transformer"])
def test_other_modules_are_refused(kind, model):
    model.add(kind, {})
    model.refused("modules.json", kind)


def test_somebody_elses_dense_is_refused(model):
    model.dense(types="mine.modules.")
    model.refused("modules.json", "mine.modules.Dense")
