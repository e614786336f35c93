"""txtai: texts of an index and queries in, float32 vectors out, as a `method` of its `Embeddings`.

The config is txtai's: `path` names the model and `vectors` holds options of `Embedder`, except `token`.
Source: txtai/vectors/base.py and dense/sbert.py, 9.14.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .named_model import NamedModel, needs

with needs("txtai"):
    from txtai.vectors import Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..embedder import Embedder


class IronvecVectors(Vectors):
    """An embedding model for txtai: `Embeddings(method="ironvec.integrations.txtai.IronvecVectors", path="minilm")`.

    Data gets the model's document prompt, queries its query prompt, unless `instructions` puts its own before them.
    """

    def loadmodel(self, path: str) -> Embedder:
        return NamedModel(path, self.config.get("vectors")).load()

    def encode(self, data: list[str], category: str | None = None) -> NDArray[Any]:
        roles = {"query": self.model.encode_query, "data": self.model.encode_document}
        # Where no encodebatch is asked for, batches are planned.
        return roles.get(category or "", self.model.encode)(data, batch_size=self.config.get("encodebatch"))
