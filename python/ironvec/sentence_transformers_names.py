"""placeholder"""

from .loaded_model import LoadedModel


class SentenceTransformersNames(LoadedModel):
    __slots__ = ()
