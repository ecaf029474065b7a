"""What is found out about a model is kept for as long as the model stays as it was.

A user may change a model between two calls. Two keys say whether it is the same still; both
together take about 0.5 ms for the embedded model, and 2 ms for one of 30 layers and 135 million
weights:

- `structure_of`: its modules, the shapes, types and devices of its tensors, its settings and its
  tokenizer. New layers, another dtype, compatibility mode or added words change it.
- `numbers_of`: where each tensor lies, how often torch has changed it, and a sample of its numbers.
  Training, `copy_` and `load_state_dict` change the count. What is written through `.data` does
  not, and is seen where it meets the sample: a whole row of every matrix, so every column, and one
  number each of many rows (all, in a small model). Changes of offloaded weights are not seen.

`Remembered` keeps one value for each model beside the key that it belongs to.
"""

import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lafn_viz.models.calls import all_modules, call, current_call

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

T = TypeVar("T")
PROBE = "a"  # any text: what stands around it are special tokens
SAMPLED_ROWS, SAMPLED_COLUMNS = 2**14, 2**14  # rows of all matrices together, columns of each
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by size in bytes


class Remembered(Generic[T]):
    """A value of each model that is computed anew when the model has changed.

    Args:
        key_of: of what the value depends on.
        in_calls: look for changes in a call too, and not at its start alone.
    """

    def __init__(
        self, key_of: "Callable[[TransformerBridge], Any]", *, in_calls: bool = False
    ) -> None:
        self._key_of, self._in_calls = key_of, in_calls
        self._kept: WeakKeyDictionary[TransformerBridge, tuple[Any, int | None, T]] = (
            WeakKeyDictionary()
        )

    def get(self, model: "TransformerBridge", compute: "Callable[[TransformerBridge], T]") -> T:
        """The value of a model; computed in a call, unless it is known for the model as it is."""
        if (value := self._known(model)) is None:
            with call(model):
                # Another thread may have computed it meanwhile, or put the weights back.
                if (value := self._known(model)) is None:
                    key = self._key_of(model)
                    value = (compute(model),)
                    self._kept[model] = key, current_call(model), value[0]
        return value[0]

    def _known(self, model: "TransformerBridge") -> tuple[T] | None:
        if model not in self._kept:
            return None
        key, checked_in, value = self._kept[model]
        now = current_call(model)
        if not self._in_calls and now is not None and now == checked_in:
            return (value,)
        if key != self._key_of(model):
            return None
        self._kept[model] = key, now, value
        return (value,)


def structure_of(model: "TransformerBridge") -> tuple[Any, ...]:
    """What a model consists of, apart from the numbers in it; to be compared with `==`."""
    modules = all_modules(model)
    tokenizer = model.tokenizer
    return (
        # A reference that keeps nothing alive, unlike the module, and is never that of another.
        tuple(weakref.ref(module) for module in modules),
        # An offloaded tensor is a new one after every pass.
        tuple((0 if x.is_meta else id(x), x.shape, x.dtype, x.device) for x in _tensors(modules)),
        _settings(model.original_model.config),
        _settings(model.cfg),
        weakref.ref(tokenizer),
        len(tokenizer),
        tuple(tokenizer.special_tokens_map.items()),
        tuple(tokenizer(PROBE)["input_ids"]),
    )


def numbers_of(model: "TransformerBridge") -> "Numbers":
    """The numbers in a model's tensors, to be compared with `==`."""
    tensors = [tensor for tensor in _tensors(all_modules(model)) if not tensor.is_meta]
    places = [(x.data_ptr(), x.shape, x.dtype) for x in tensors]
    with _SAMPLING:
        if model not in _SAMPLES or _SAMPLES[model][0] != places:
            _SAMPLES[model] = places, _samples(tensors)
        samples = _SAMPLES[model][1]
    return Numbers(
        changes=[(x.data_ptr(), 0 if x.is_inference() else x._version) for x in tensors],
        samples=[torch.cat(views) for views in samples],
    )


@dataclass(frozen=True, eq=False)
class Numbers:
    """How often each tensor was changed, and a sample of the numbers in all of them."""

    changes: list[tuple[int, int]]
    samples: list[Tensor]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Numbers)
            and self.changes == other.changes
            and all(map(torch.equal, self.samples, other.samples))
        )


# For each model: where its tensors lie, and views of the numbers that are looked at. To make the
# views takes longer than to read them.
_SAMPLES: "WeakKeyDictionary[TransformerBridge, tuple[list[Any], list[list[Tensor]]]]"
_SAMPLES = WeakKeyDictionary()
_SAMPLING = threading.Lock()


def _samples(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Views of some numbers of each tensor, as integers (NaN is not equal to itself), by type."""
    by_type: dict[Any, list[Tensor]] = defaultdict(list)
    n_rows = SAMPLED_ROWS // max(1, sum(tensor.ndim > 1 for tensor in tensors))
    for tensor in tensors:
        if not tensor.numel() or not tensor.is_contiguous() or tensor.itemsize not in _INTEGERS:
            continue
        rows = tensor.detach().view(_INTEGERS[tensor.itemsize])
        rows = rows.reshape(-1, rows.shape[-1] if rows.ndim > 1 else rows.numel())
        step = max(1, -(-len(rows) // max(1, n_rows)))
        by_type[rows.dtype, rows.device] += [
            rows[len(rows) // 2, :SAMPLED_COLUMNS],
            rows[::step, rows.shape[1] // 2],
        ]
    return list(by_type.values())


def _tensors(modules: Iterable[nn.Module]) -> list[Tensor]:
    """All parameters and buffers, those that several modules share once."""
    tensors = {
        id(tensor): tensor
        for module in modules
        if module._parameters or module._buffers
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None
    }
    return list(tensors.values())


def _settings(config: Any) -> dict[str, Any]:
    """What a config says, as plain values that do not change with it."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(config).items()
        if value is None or isinstance(value, str | int | float | list | torch.dtype)
    }
