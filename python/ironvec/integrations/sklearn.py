"""scikit-learn: a transformer from texts to vectors, for pipelines before a classifier or a clustering.

In: a 1-D array-like of str. Out: a float32 array of shape (texts, dimension). Refuses tables and arrays of more axes.
Source: sklearn/base.py, 1.9.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .named_model import ModelLike, NamedModel, needs

with needs("scikit-learn"):
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..arguments import TextsLike


class IronvecTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Texts to vectors. Nothing is learnt: `fit` loads the model and takes any texts, or None.

    Args:
        model: A name or path, as `Embedder` takes it; or an `Embedder`, which `clone` and grid searches load anew,
            where all that share a name share one.
        prompt_name: As in `Embedder.encode`: "query", "clustering", ...; None is the model's default prompt.
        options: Keyword arguments of `Embedder`, except `token`.

    Fitted or not, it pickles by name and options: processes of joblib load the model themselves.
    """

    def __init__(
        self,
        model: ModelLike = "minilm",
        *,
        prompt_name: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.prompt_name = prompt_name
        self.options = options

    def fit(self, X: TextsLike | None = None, y: Any = None) -> IronvecTransformer:
        self.model_ = NamedModel(self.model, self.options)
        self._n_features_out = self.model_.load().dimension
        return self

    def transform(self, X: TextsLike) -> NDArray[np.float32]:
        check_is_fitted(self)
        if isinstance(X, str):
            raise TypeError("X is one str; expected a 1-D array-like of them")
        return self.model_.load().encode(X, prompt_name=self.prompt_name)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array, tags.input_tags.string = True, False, True
        tags.transformer_tags.preserves_dtype = []
        return tags
