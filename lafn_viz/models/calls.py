"""What holds in every public call that takes a model (`reads_model`).

1. **The model** is a TransformerBridge with a tokenizer; anything else is refused in one sentence.
2. **One call at a time.** A model has hooks and state that two threads must not use at once, so a
   call takes the model's lock. A second call from another thread waits; a call inside a call does
   not. Of the edits that are applied to the model, those of the calling thread act, and no others.
3. **Plain modes.** Whatever the caller has switched on in torch, the call computes without it (see
   `torch_modes`), and with the model in evaluation mode, without dropout, its weights without
   gradients. All are as before afterwards.

A pass that the user runs (`model(...)`, `generate`) is no public call. It waits for nobody, and
sees every edit that is applied.
"""

import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from lafn_viz.core.messages import quoted
from lafn_viz.models.torch_modes import plain_modes
from lafn_viz.models.vocabulary import unknown_words_told

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from lafn_viz.models.plain import PlainModel

P = ParamSpec("P")
R = TypeVar("R")


def reads_model(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function with a parameter `model`: it runs as a `call` of this model."""
    place = list(inspect.signature(function).parameters).index("model")

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        if "model" not in kwargs and len(args) <= place:
            return function(*args, **kwargs)  # Python says that it is missing, or takes the default
        model = kwargs["model"] if "model" in kwargs else args[place]
        require_model(model)
        with call(model), unknown_words_told():
            return function(*args, **kwargs)

    return called


@contextlib.contextmanager
def call(model: "TransformerBridge") -> Iterator[None]:
    """Use a model in this block as a public call does."""
    turn = _turn(model)
    if turn.is_calling:
        yield
        return
    with turn, plain_modes():
        turn.modules = all_modules(model)
        turn.n_calls += 1
        turn.calling = True
        try:
            with _evaluating(turn.modules), _frozen(turn.modules):
                yield
        finally:
            _let_go_of_graphs(turn.modules)
            turn.calling, turn.modules = False, []


def current_call(model: "TransformerBridge | PlainModel") -> int | None:
    """Number of the call of this model that this thread is in, or None outside of any."""
    turn = _TURNS.get(model)  # a plain model, which is in no public call, has none
    return turn.n_calls if turn is not None and turn.is_calling else None


@contextlib.contextmanager
def held(model: "TransformerBridge") -> Iterator[None]:
    """Keep all other threads' calls of a model waiting in this block, as where weights change."""
    with _turn(model):
        yield


def holds_a_model() -> bool:
    """Whether this thread keeps other threads' calls of some model waiting."""
    here = threading.get_ident()
    return any(turn.thread == here for turn in list(_TURNS.values()))


class _Turn:
    """Whose turn it is to use a model: a lock that a thread may take again.

    `thread` has the lock; `calling` says whether it is in a call, the `n_calls`-th of the model.
    """

    def __init__(self) -> None:
        self.thread: int | None = None
        self.calling, self.n_calls = False, 0
        self.modules: list[nn.Module] = []  # of the model in this call
        self._lock, self._depth = threading.RLock(), 0

    @property
    def is_calling(self) -> bool:
        """Whether this thread is in a call of the model."""
        return self.calling and self.thread == threading.get_ident()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1
        self.thread = threading.get_ident()

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if not self._depth:
            self.thread = None
        self._lock.release()


_TURNS: "WeakKeyDictionary[TransformerBridge | PlainModel, _Turn]" = WeakKeyDictionary()
_MAKING = threading.Lock()


def _turn(model: "TransformerBridge") -> _Turn:
    with _MAKING:
        if model not in _TURNS:
            _TURNS[model] = _Turn()
            _keep_batch_sizes_apart()
        return _TURNS[model]


class _OfEachThread:
    """An attribute of objects of which each thread has a value of its own; None at first."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def _values(self) -> WeakKeyDictionary[object, object]:
        if not hasattr(self._of_thread, "values"):
            self._of_thread.values = WeakKeyDictionary()
        values: WeakKeyDictionary[object, object] = self._of_thread.values
        return values

    def __get__(self, instance: object, owner: type) -> object:
        return self._values().get(instance)

    def __set__(self, instance: object, value: object) -> None:
        self._values()[instance] = value


def _keep_batch_sizes_apart() -> None:
    """Let passes in two threads not read each other's number of rows.

    TransformerLens notes it on the position embeddings at the start of a pass, and reads it there.
    """
    from transformer_lens.model_bridge.generalized_components import PosEmbedBridge

    if "_current_batch_size" not in vars(PosEmbedBridge):
        PosEmbedBridge._current_batch_size = _OfEachThread()


@contextlib.contextmanager
def _evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Switch dropout and the like off, module by module as it was switched on."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def _frozen(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Let no weight want a gradient: none is kept, and no graph grows behind a result."""
    wanting = {
        weight: None
        for module in modules
        for weight in module._parameters.values()
        if weight is not None and weight.requires_grad
    }
    for weight in wanting:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in wanting:
            weight.requires_grad_(True)


def _let_go_of_graphs(modules: Sequence[nn.Module]) -> None:
    """Free what the last pass computed: TransformerLens keeps each layer's attention pattern.

    With its graph it holds memory, and the model can be neither copied nor pickled.
    """
    for module in modules:
        pattern = getattr(module, "_pattern", None)
        if isinstance(pattern, Tensor) and pattern.grad_fn is not None:
            module._pattern = pattern.detach()


def all_modules(model: "TransformerBridge") -> list[nn.Module]:
    """The modules of a bridge and of the model in it, without hook points; in a call, of its start.

    They are walked through in a tenth of the time of `modules()`, because every call does so.
    """
    from transformer_lens.hook_points import HookPoint

    turn = _turn(model)
    if turn.is_calling and turn.modules:
        return turn.modules
    modules: dict[nn.Module, None] = {}
    stack: list[nn.Module | None] = [model, model.original_model]
    while stack:
        module = stack.pop()
        if module is not None and module not in modules:
            modules[module] = None
            stack += [x for x in module._modules.values() if type(x) is not HookPoint]
    return list(modules)


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
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None:
        raise TypeError(
            "model has no tokenizer, and every text is read through one; load it by "
            "lv.load_model(name), or set model.tokenizer"
        )
    if not getattr(tokenizer, "is_fast", True):
        raise TypeError(
            f"the model's tokenizer, a {type(tokenizer).__name__}, is written in Python and "
            "does not say which characters a token stands for; set model.tokenizer to a fast one"
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
