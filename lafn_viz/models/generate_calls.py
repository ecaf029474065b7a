"""The prompt of a call of `generate`, for those who act in the passes of the model.

A pass does not say whether its tokens are a piece of a prompt, or what the model has written. Only
the call of `generate` knows. While a model is `watched`, `generate` of transformers and of
TransformerLens note their prompt, and `generate_call` returns it within the call. Code that reads
prompts together with their answers says by `prompts_given` where they end.
"""

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from lafn_viz.core.shared import Shared

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from lafn_viz.models.plain import PlainModel


@dataclass
class GenerateCall:
    """A call of `generate` of a transformers model in progress.

    `prompt` is what it was given, or None until the first pass reads it; `mask` is its attention
    mask. `start` is the position at which it begins, behind what a cache holds; None until the
    first pass. `is_assistant` says whether the model drafts for another one.
    """

    model: Any
    prompt: Int[Tensor, "prompt pos"] | None
    mask: Tensor | None
    is_assistant: bool
    start: int | None = None

    def whole_prompt(
        self, tokens: Int[Tensor, "row pos"], n_cached: int
    ) -> Int[Tensor, "row whole"] | None:
        """All tokens of the prompt, of which a pass reads a part; None if the pass is another's.

        Args:
            tokens: all that was read and is read now.
            n_cached: how many positions of them are in the cache.
        """
        if self.prompt is None:
            self.prompt, self.start = tokens, 0
        prompt = self._for_rows(len(tokens), tokens)
        if prompt is None:
            return None
        starts = [self.start] if self.start is not None else [0, n_cached]
        for start in starts:
            if self.start is None and start == 0 and not self._is_full(n_cached):
                continue
            n_shared = min(tokens.shape[1] - start, prompt.shape[1])
            if tokens[:, start : start + n_shared].equal(prompt[:, :n_shared]):
                self.start = start
                return torch.cat([tokens[:, :start], prompt], 1)
        return None

    def cached_tokens(
        self, n_rows: int, n_cached: int, like: Tensor
    ) -> Int[Tensor, "row cached"] | None:
        """What a cache holds, where the prompt was given in full, before its first pass."""
        if self.prompt is None or self.start is not None or not self._is_full(n_cached):
            return None
        prompt = self._for_rows(n_rows, like)
        return None if prompt is None else prompt[:, :n_cached]

    def real(self, texts: Int[Tensor, "row pos"]) -> Bool[Tensor, "row pos"]:
        """Where texts have tokens and not padding, by the mask of the prompt."""
        real = torch.ones_like(texts, dtype=torch.bool)
        if self.mask is not None:
            rows = self.mask.repeat_interleave(len(texts) // len(self.mask), 0)
            rows = rows[:, : texts.shape[1]].to(real)
            real[:, : rows.shape[1]] = rows
        return real

    def _is_full(self, n_cached: int) -> bool:
        """Whether the prompt begins where the text does, and not behind the cache."""
        assert self.prompt is not None
        length = self.prompt.shape[1]
        if n_cached and self.mask is not None and self.mask.shape[1] != length:
            return False
        return length > n_cached

    def _for_rows(self, n_rows: int, like: Tensor) -> Tensor | None:
        """The prompt of each row: beams and samples of one prompt stand side by side."""
        assert self.prompt is not None
        times, rest = divmod(n_rows, len(self.prompt))
        return None if rest else self.prompt.to(like).repeat_interleave(times, 0)


_CALL: ContextVar[GenerateCall | None] = ContextVar("generate_call", default=None)
_WATCHED: WeakKeyDictionary[nn.Module, Shared] = WeakKeyDictionary()
_LOCK = threading.Lock()


def generate_call(model: "TransformerBridge | PlainModel") -> GenerateCall | None:
    """The call of the model's `generate` in which this code runs, if the model is watched."""
    call = _CALL.get()
    return call if call is not None and call.model is model.original_model else None


def prompts_given(
    model: "TransformerBridge", prompts: Int[Tensor, "row pos"]
) -> contextlib.AbstractContextManager[None]:
    """In this block the model reads these prompts, and answers behind them."""
    return _in_progress(GenerateCall(model.original_model, prompts, None, is_assistant=False))


def watched(model: "TransformerBridge | PlainModel") -> Shared:
    """Let calls of the model's `generate` note their prompt, in a `with` block."""
    # Of a plain model there may be several views: what they show is watched once.
    owner: Any = model if isinstance(model, nn.Module) else model.original_model
    with _LOCK:
        if owner not in _WATCHED:
            reference = weakref.ref(owner)  # the model may go, although it is remembered here
            _WATCHED[owner] = Shared(lambda: _methods_wrapped(reference()))
        return _WATCHED[owner]


@contextlib.contextmanager
def _methods_wrapped(owner: Any) -> Iterator[None]:
    original = getattr(owner, "original_model", owner)
    for module, name, wrap in _methods(owner, original):
        if (method := getattr(module, name, None)) is not None:  # a masked model has none
            vars(module)[name] = functools.partial(wrap, original, method)
    try:
        yield
    finally:
        for module, name, wrap in _methods(owner, original):
            wrapped = vars(module).get(name)
            if isinstance(wrapped, functools.partial) and wrapped.func is wrap:
                del vars(module)[name]


def _methods(owner: Any, original: Any) -> list[tuple[Any, str, Callable[..., Any]]]:
    methods = [(original, "generate", _generate_of_transformers)]
    if owner is not original:  # a bridge
        methods += [
            (owner, "generate", _generate_of_lens),
            (owner, "generate_stream", _stream_of_lens),
        ]
    return methods


@contextlib.contextmanager
def _in_progress(call: GenerateCall) -> Iterator[None]:
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)


def _generate_of_transformers(
    model: Any, method: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    given = args[0] if args else kwargs.get("inputs")
    given = kwargs.get("input_ids") if given is None else given
    config = args[1] if len(args) > 1 else kwargs.get("generation_config")
    is_prompt = isinstance(given, Tensor) and given.ndim == 2 and given.shape[1] > 0
    call = GenerateCall(
        model,
        given if is_prompt and kwargs.get("inputs_embeds") is None else None,
        kwargs.get("attention_mask"),
        is_assistant=bool(getattr(config, "is_assistant", False)),
    )
    with _in_progress(call):
        return method(*args, **kwargs)


def _generate_of_lens(model: Any, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with _in_progress(GenerateCall(model, None, None, is_assistant=False)):
        return method(*args, **kwargs)


def _stream_of_lens(
    model: Any, method: Callable[..., Any], *args: Any, **kwargs: Any
) -> Iterator[Any]:
    call = GenerateCall(model, None, None, is_assistant=False)
    stream = method(*args, **kwargs)
    while True:
        with _in_progress(call):
            try:
                tokens = next(stream)
            except StopIteration:
                return
        yield tokens
