"""Which prompt goes in front of a text. Semantics: sentence-transformers 6.2.

In: the registry's, the checkpoint's and the caller's prompts. Out: the text to prepend. Refuses names nobody gave.
"""

from __future__ import annotations

from collections.abc import Mapping

# The prompt names tried for each role, first found wins.
ROLES: dict[str, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}


class Prompts:
    """The prompts of one model: the caller's win over the checkpoint's, the checkpoint's over the registry's."""

    __slots__ = ("_given", "default_name")

    def __init__(
        self,
        *,
        registry: Mapping[str, str],
        checkpoint: Mapping[str, str],
        checkpoint_default: str | None,
        caller: Mapping[str, str] | None,
        caller_default: str | None,
    ) -> None:
        self._given = {**registry, **checkpoint, **(caller or {})}
        self.default_name = checkpoint_default if caller_default is None else caller_default
        if self.default_name is not None and self.default_name not in self.all():
            raise ValueError(f"default_prompt_name={self.default_name!r} is not among the prompts; {self._known()}")

    def all(self) -> dict[str, str]:
        """Every name that `prompt_name=` takes. Both roles are there, empty where nobody gave a prompt for them."""
        return {"query": "", "document": "", **self._given}

    def choose(self, prompt: str | None, prompt_name: str | None) -> str | None:
        """The text to prepend: `prompt` beats `prompt_name` beats the default."""
        if prompt is not None:
            if not isinstance(prompt, str):
                raise TypeError(f"prompt is {type(prompt).__name__}, not str")
            return prompt or None
        name = self.default_name if prompt_name is None else prompt_name
        if name is None:
            return None
        if not isinstance(name, str):
            raise TypeError(f"prompt_name is {type(name).__name__}, not str")
        prompts = self.all()
        if name not in prompts:
            raise ValueError(f"prompt_name={name!r} is not among the prompts; {self._known()}")
        return prompts[name] or None

    def of_role(self, role: str) -> str:
        """The prompt of "query" or "document". An empty one too keeps the default prompt away."""
        if role not in ROLES:
            raise ValueError(f"role={role!r}; expected {' or '.join(map(repr, ROLES))}")
        return next((self._given[name] for name in ROLES[role] if name in self._given), "")

    def _known(self) -> str:
        return "known: " + ", ".join(repr(name) for name in self.all())


def task_prompt(task: object, prompt: object, prompt_name: object) -> str:
    """What goes in front of a query of an instruction-tuned model. Source: the Qwen3-Embedding model cards."""
    if prompt is not None or prompt_name is not None:
        raise ValueError("task makes a prompt of its own: leave out prompt and prompt_name, or task")
    if not isinstance(task, str):
        raise TypeError(f"task is {type(task).__name__}, not str")
    return f"Instruct: {task}\nQuery:"


def checked_prompts(prompts: Mapping[str, str] | None) -> dict[str, str] | None:
    """A copy of the caller's prompts; `TypeError` where they are not name to text."""
    if prompts is None:
        return None
    if not isinstance(prompts, Mapping):
        raise TypeError(f"prompts is {type(prompts).__name__}; expected a mapping of name to text")
    for name, text in prompts.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"prompts[{name!r}] maps {type(name).__name__} to {type(text).__name__}; both must be str")
    return dict(prompts)
