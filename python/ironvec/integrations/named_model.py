"""A model as a framework's config keeps it: its name and its options, never weights, never a token.

In: a name, a path or an `Embedder`, and options of `Embedder`. Out: the two as JSON values, and an `Embedder` that is
loaded when it is first needed, once for all that name it alike. Refuses what `Embedder` does not take or JSON does not
hold, and `token`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ..embedder import Embedder

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What adapters take as their model.
ModelLike = str | os.PathLike[str] | Embedder

_DEFAULTS: Mapping[str, Any] = Embedder.__init__.__kwdefaults__ or {}
_shared: WeakValueDictionary[str, Embedder] = WeakValueDictionary()
_loading = threading.Lock()


class NamedModel:
    """A name and options. Pickles and copies as these; any number of threads may `load` it.

    Args:
        model: What `Embedder` takes, a path being made absolute; or an `Embedder`, whose name and options are read.
        options: Keyword arguments of `Embedder`, except `token`; none beside an `Embedder`.

    Raises:
        TypeError, ValueError: As the file says, here and not at the first use. Errors of loading come from `load`.
    """

    __slots__ = ("_embedder", "_key")

    def __init__(self, model: ModelLike, options: Mapping[str, Any] | None = None) -> None:
        self._embedder = model if isinstance(model, Embedder) else None
        if isinstance(model, Embedder):
            if options:
                raise ValueError("options go with a model's name; this Embedder has been made with its own")
            if type(model) is not Embedder:
                raise TypeError(f"model is {type(model).__name__}; a config can name an Embedder, not a subclass of it")
            model, keywords = model._arguments
            options = {name: value for name, value in keywords.items() if value != _DEFAULTS[name]}
        if not isinstance(model, (str, os.PathLike)):
            raise TypeError(f"model is {type(model).__name__}; expected a name, a path or an ironvec.Embedder")
        self._key = _as_json(os.fspath(model), dict(options or {}))
        if self._embedder is not None:
            _shared.setdefault(self._key, self._embedder)

    @property
    def name(self) -> str:
        """The name, or the absolute path."""
        return json.loads(self._key)[0]

    @property
    def options(self) -> dict[str, Any]:
        """A copy of the options, in JSON's types."""
        return json.loads(self._key)[1]

    def load(self) -> Embedder:
        """The `Embedder`: the one that others who name it alike hold, or a new one. Errors as `Embedder`'s."""
        if self._embedder is None:
            with _loading:
                found = _shared.get(self._key)
                if found is None:
                    found = _shared[self._key] = Embedder(self.name, **self.options)
            self._embedder = found
        return self._embedder

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedModel, (self.name, self.options)

    def __repr__(self) -> str:
        return f"NamedModel({self.name!r}, {self.options!r})"


def _as_json(name: str, options: dict[str, Any]) -> str:
    if "token" in options:
        raise ValueError(
            "options would keep the token in a config: set HF_TOKEN, log in with `hf auth login`, or pass an "
            "Embedder(..., token=...)"
        )
    if unknown := options.keys() - _DEFAULTS:
        raise TypeError(f"options has {sorted(unknown)}, which Embedder does not take; it takes {sorted(_DEFAULTS)}")
    path = os.path.abspath(os.path.expanduser(name))
    try:
        return json.dumps([path if os.path.exists(path) else name, options], sort_keys=True, default=os.fspath)
    except TypeError as error:
        raise TypeError(f"options of {name!r} holds what a config cannot: {error}") from error


async def encode_async(model: Embedder, role: str, texts: str | list[str]) -> NDArray[Any]:
    """`encode_query` or `encode_document`, by `role` ("query" or "document"), off the event loop."""
    return await (model.aencode_query if role == "query" else model.aencode_document)(texts)


@contextmanager
def needs(package: str) -> Iterator[None]:
    """Around imports of a framework: where they fail, the error says what to install."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{error}; this integration needs: pip install {package}", name=error.name) from error


def _after_fork() -> None:
    # Another thread of the parent may have held the lock, and no thread of the child will let it go.
    global _loading
    _loading = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
