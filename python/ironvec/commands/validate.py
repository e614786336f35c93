"""`ironvec validate`: a model's promises, each a line with its figure and verdict.

In: a model, perhaps reference vectors. Out: the lines or JSON; exit code 1 if a check failed. The checks are those of
`model_checks.py` and `reference_vectors.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..plain_text import counted, table, wrapped
from ..terminal import show
from .opening import add_model_arguments, model_arguments, open_model, usage_errors

if TYPE_CHECKING:
    from ..embedder import Embedder
    from ..model_checks import Check
    from ..reference_vectors import Reference

HELP = "check that a model's vectors are what they should be"

_EXAMPLES = """\
examples:
  ironvec validate minilm
  ironvec validate FOLDER --reference vectors.npz --min-cosine 0.999
  ironvec validate qwen3 --dtype int8 --reference float32.npz
  ironvec validate qwen3 --make-reference float32.npz --texts queries.txt

A reference is an .npz file of two arrays, `texts` (str) and `embeddings`
(float, one row a text), of whatever made them:
  np.savez("vectors.npz", texts=texts, embeddings=model.encode(texts))

exit codes: 0 all checks passed, 1 one failed, 2 wrong arguments or no model
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("model", metavar="MODEL", help="alias, checkpoint folder, hub id or .onnx file")
    add_model_arguments(parser)
    parser.add_argument("--reference", metavar="FILE.npz", help="compare with these vectors too")
    parser.add_argument(
        "--make-reference", metavar="FILE.npz", help="write the texts and their vectors, if all is well"
    )
    parser.add_argument("--texts", metavar="FILE", help="one text a line, instead of those built in")
    parser.add_argument("--prompt-name", metavar="NAME", help="the prompt of the reference's texts (default: none)")
    parser.add_argument("--min-cosine", type=float, metavar="C", help="least cosine to the reference (float32: 0.9999)")
    parser.add_argument(
        "--max-difference", type=float, metavar="D", help="largest difference of a component (float32: 0.001)"
    )
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(options: argparse.Namespace) -> int:
    from ..reference_vectors import read_reference, write_reference
    from ..sample_texts import TEXTS, read_texts

    with usage_errors((OSError, ValueError)):
        reference = read_reference(options.reference) if options.reference else None
        texts = read_texts(options.texts) if options.texts else list(TEXTS)
    started = time.perf_counter()
    model = open_model(options.model, **model_arguments(options))
    load_ms = (time.perf_counter() - started) * 1000.0
    if options.prompt_name is not None and options.prompt_name not in model.prompts:
        with usage_errors():
            raise ValueError(f"--prompt-name {options.prompt_name}: known are {', '.join(model.prompts)}")
    if not options.json:
        show(f"{model.model_id} on {model.provider} in {model.dtype}, loaded in {load_ms:.0f} ms\n")
    checks = []
    for check in _checks(options, model, texts, reference):
        checks.append(check)
        if not options.json:
            verdict = "ok" if check.passed else "FAIL"
            # One at a time, as they are found: a large model's take a while.
            show("\n".join(table([(f"{verdict:<4}", f"{check.name:<16}", check.figure)])))
            sys.stdout.flush()
    failed = [check.name for check in checks if not check.passed]
    written = None
    if options.make_reference and not failed:
        prompt = None if options.prompt_name is not None else ""
        vectors = model.encode(texts, prompt_name=options.prompt_name, prompt=prompt, show_progress_bar=_progress())
        write_reference(options.make_reference, texts, vectors)
        written = options.make_reference
    if options.json:
        show(json.dumps(_record(model, load_ms, checks, written), indent=2))
    else:
        show(_verdict(failed, len(checks), written, options.make_reference))
    return 1 if failed else 0


def _checks(
    options: argparse.Namespace, model: Embedder, texts: list[str], reference: Reference | None
) -> Iterator[Check]:
    from ..model_checks import check_model
    from ..reference_vectors import check_reference

    yield from check_model(model, texts)
    if reference is not None:
        yield from check_reference(
            model, reference, prompt_name=options.prompt_name, least_cosine=options.min_cosine,
            most_apart=options.max_difference, progress=_progress(),
        )  # fmt: skip


def _progress() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _verdict(failed: list[str], count: int, written: str | None, wanted: str | None) -> str:
    lines = [f"\n{counted(count, 'check')} passed."]
    if failed:
        lines = ["", *wrapped(f"{len(failed)} of {counted(count, 'check')} failed: {', '.join(failed)}.")]
    if written is not None:
        lines.append(f"Written: {written}")
    elif wanted is not None:
        lines.append(f"Not written, since a check failed: {wanted}")
    return "\n".join(lines)


def _record(model: Embedder, load_ms: float, checks: list[Check], written: str | None) -> dict[str, object]:
    return {
        "model": model.model_id,
        "provider": model.provider,
        "dtype": model.dtype,
        "load_ms": load_ms,
        "passed": all(check.passed for check in checks),
        "checks": [{**check._asdict(), "numbers": _finite(check.numbers)} for check in checks],
        "reference_written": written,
    }


def _finite(numbers: dict[str, float]) -> dict[str, float | None]:
    """JSON has no word for NaN and infinity."""
    return {name: number if math.isfinite(number) else None for name, number in numbers.items()}
