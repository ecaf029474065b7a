"""What holds in every public call that takes a model (`reads_model`).

The model is a TransformerBridge with a tokenizer; anything else is refused in one sentence.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from lafn_viz.core.messages import quoted
from lafn_viz.models.vocabulary import unknown_words_told

P = ParamSpec("P")
R = TypeVar("R")


def reads_model(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function with a parameter `model`: it gets a model, and nothing else."""
    place = list(inspect.signature(function).parameters).index("model")

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if "model" in kwargs or len(args) > place:  # else Python says that it is missing
            require_model(kwargs["model"] if "model" in kwargs else args[place])
        with unknown_words_told():
            return function(*args, **kwargs)

    return checked


def require_model(model: object, *, or_name: bool = False) -> None:
    """Refuse what is no TransformerBridge with a tokenizer.

    Args:
        or_name: let the name or the folder of a model pass too.

    Raises:
        TypeError: saying what was given and how to load a model.
    """
    if or_name and isinstance(model, str | Path):
        return
    if not _is_bridge(model):
        raise TypeError(f"model is {_described(model)}")
    if getattr(model, "tokenizer", None) is None:
        raise TypeError(
            "model has no tokenizer, and every text is read through one; load it by "
            "lv.load_model(name), or set model.tokenizer"
        )


def _is_bridge(model: object) -> bool:
    # Where nothing has imported the bridge yet, nothing can be one.
    module = sys.modules.get("transformer_lens.model_bridge")
    return module is not None and isinstance(model, module.TransformerBridge)


def _described(model: object) -> str:
    """What was given in place of a model, and what to give."""
    if isinstance(model, str | Path):
        return f"a name, {quoted(str(model))}; load it first: model = lv.load_model(name)"
    kind = type(model)
    package = kind.__module__.split(".")[0]
    of = f" of {package}" if package in ("transformers", "transformer_lens") else ""
    what = "None" if model is None else f"of type {kind.__name__}{of}"
    for name in ("model", "_orig_mod"):  # of an explorer or a Planted, of torch.compile
        if _is_bridge(getattr(model, name, None)):
            return f"{what}; give the model in it, its .{name}"
    return (
        f'{what}; give what lv.load_model(name) returns, where name is "embedded", another '
        "packaged model, a folder, or a name on the model hub"
    )
