"""Adapters for the frameworks that call an embedding model: one file each, imported only when asked for.

>>> from ironvec.integrations.langchain import IronvecEmbeddings  # pip install langchain-core

`docs/frameworks.md` lists them. Each takes a model by its name and the options of `Embedder`, or an `Embedder`.
"""
