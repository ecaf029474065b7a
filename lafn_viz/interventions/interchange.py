"""Give neurons of one prompt the values that they have in another: many pairs in a few passes.

Prompts of different languages have different lengths, so values move between places that mean the
same in both: the position that predicts the answer, or the subject's last token, or these two at
once. All other positions have no partner and keep their own values; so does what a causal model
reads of the answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.batching import Batch, batches

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Positions that mean the same in prompts of different lengths.
MatchedPosition = Literal["answer", "subject_last", "subject_and_answer"]
MATCHED_POSITIONS: tuple[MatchedPosition, ...] = get_args(MatchedPosition)
MAX_ROWS = 256  # rows in one pass; bounds the memory


@dataclass(frozen=True)
class Rows:
    """What each row of an interchange reads and gets: numbers of prompts, masks and donors."""

    prompt: Int[Tensor, " row"]
    mask: Int[Tensor, " row"]
    donor: Int[Tensor, " row"]


@dataclass(frozen=True)
class Donors:
    """The activations of some prompts at one place or two, and whether each is answered."""

    values: Float[Tensor, "prompt layer place neuron"]
    known: Bool[Tensor, " prompt"]


def read_donors(
    model: "TransformerBridge", prompts: Sequence[Prompt], position: MatchedPosition
) -> Donors:
    """Read each prompt once, and keep its neurons' values at the position."""
    values: list[Tensor] = [torch.empty(0)] * len(prompts)
    known = torch.empty(len(prompts), dtype=torch.bool)
    for batch in _batches(model, prompts, position):
        run = OnePass(model, batch, "log_prob", max_rows=MAX_ROWS)
        known[batch.index] = run.known.cpu()
        read = torch.stack(run.activations, 1)[:, :, _columns(batch.at, position)]
        for number, of_prompt in zip(batch.index.tolist(), read, strict=True):
            values[number] = of_prompt
    return Donors(torch.stack(values), known)


def interchange(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    rows: Rows,
    masks: Bool[Tensor, "mask layer neuron"],
    values: Float[Tensor, "donor layer place neuron"],
    position: MatchedPosition,
) -> tuple[Float[Tensor, "prompt kind"], Float[Tensor, "row kind"]]:
    """Log-probability (nats) of the answers and whether each is known (1 or 0): both kinds.

    The first table has each prompt as it is, the second each row with the neurons of its mask at
    the donor's values.
    """
    untouched, changed = torch.empty(len(prompts), 2), torch.empty(len(rows.prompt), 2)
    layers = masks.any(0).any(-1).nonzero()[:, 0].tolist()
    order = rows.prompt.argsort(stable=True)
    count = torch.bincount(rows.prompt, minlength=len(prompts))
    rows_of = order.split(count.tolist())
    for batch in _batches(model, prompts, position):
        run = OnePass(model, batch, "log_prob", max_rows=MAX_ROWS)
        untouched[batch.index] = _both(run.log_prob, run.known)
        numbers = batch.index.tolist()
        of_batch = torch.cat([rows_of[number] for number in numbers])
        owners = torch.arange(len(numbers)).repeat_interleave(count[batch.index])
        columns = _columns(batch.at, position)
        for row, owner in zip(of_batch.split(MAX_ROWS), owners.split(MAX_ROWS), strict=True):
            changes = {
                layer: partial(
                    _put, columns, masks[rows.mask[row], layer], values[rows.donor[row], layer]
                )
                for layer in layers
            }
            changed[row] = _both(*run.answered(owner.to(run.tokens.device), changes))
    return untouched, changed


def _put(
    columns: Sequence[int],
    chosen: Bool[Tensor, "row neuron"],
    new: Float[Tensor, "row place neuron"],
    value: Float[Tensor, "row at neuron"],
) -> Float[Tensor, "row at neuron"]:
    """Replace the activations of each row's chosen neurons in some columns."""
    value, chosen = value.clone(), chosen.to(value.device)
    for place, column in enumerate(columns):
        value[:, column] = torch.where(chosen, new[:, place].to(value), value[:, column])
    return value


def _both(log_prob: Tensor, known: Tensor) -> Float[Tensor, "row kind"]:
    return torch.stack([log_prob.float(), known.float()], -1).cpu()


def _columns(at: slice, position: MatchedPosition) -> list[int]:
    """The columns of the places among the positions acted on."""
    return [0, at.stop - at.start - 1] if position == "subject_and_answer" else [0]


def _batches(
    model: "TransformerBridge", prompts: Sequence[Prompt], position: MatchedPosition
) -> Iterator[Batch]:
    """Batches whose positions acted on begin and end at the places."""
    if position != "subject_and_answer":
        yield from batches(model, prompts, position=position, max_prompts=MAX_ROWS)
        return
    for batch in batches(model, prompts, position="subject_last", max_prompts=MAX_ROWS):
        # A masked model may predict an answer before its subject.
        if batch.at.start > batch.predicts:
            raise ValueError(
                "a prompt names its subject after the answer, so its subject comes too late for "
                "position='subject_and_answer'; give position='answer'"
            )
        yield replace(batch, at=slice(batch.at.start, batch.predicts + 1))
