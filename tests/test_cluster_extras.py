"""What needs Ray or Spark says so, by the extra's name, and nothing else imports them. Their work: `clusters/`."""

import pytest

from kit.bulk import texts, write_texts
from kit.interpreter import python

# As where they are not installed, whether they are or not.
WITHOUT = "import sys; sys.modules['ray'] = sys.modules['pyspark'] = None\n"


@pytest.mark.parametrize("extra", ["ray", "spark"])
def test_an_import_names_the_extra(extra):
    code = f"try:\n    import ironvec.{extra}\nexcept ImportError as error:\n    print(error)"
    assert f"pip install 'ironvec[{extra}]'" in python(WITHOUT + code)


def test_the_engine_names_the_extra_before_anything_is_begun(folder, tmp_path):
    rows = write_texts(tmp_path / "texts.txt", texts(3))
    code = "from ironvec.cli import main\nprint(main(sys.argv[1:]))"
    words = ["embed", rows, "-o", tmp_path / "v.npy", "--model", folder, "--engine", "ray"]
    redirected = "sys.stderr = sys.stdout\n"
    printed = python(WITHOUT + redirected + code, *words)
    assert "--engine ray needs packages of its own: pip install 'ironvec[ray]'" in printed
    assert printed.splitlines()[-1] == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--engine", "dask"], "engine 'dask' is not one that there is"), (["--workers", "2"], "wants --engine ray")],
)
def test_other_engines_are_refused(folder, tmp_path, words, message):
    rows = write_texts(tmp_path / "texts.txt", texts(3))
    code = "import sys; sys.stderr = sys.stdout\nfrom ironvec.cli import main\nprint(main(sys.argv[1:]))"
    printed = python(code, "embed", rows, "-o", tmp_path / "v.npy", "--model", folder, *words)
    assert message in printed
    assert printed.splitlines()[-1] == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]
