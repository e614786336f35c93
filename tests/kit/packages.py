"""Packages that only the environment of `make test-integrations` has."""

import importlib
import os
import warnings
from typing import Any

import pytest


def package(name: str) -> Any:
    """The module. Where it cannot be imported, the test file is skipped; in that environment it is an error."""
    if not os.environ.get("IRONVEC_TEST_INTEGRATIONS"):
        return pytest.importorskip(name, exc_type=ImportError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)
