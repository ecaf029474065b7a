"""In which language does a model think? Read the names of a fact in every language off every layer.

1. **Logit lens** (nostalgebraist 2020, "interpreting GPT: the logit lens"): the residual stream
   after each layer, at the position that predicts the answer, goes through all that follows the
   model's last layer, and gives the probability of every token, as if the other layers were not.
2. **Names**: the rank of the first token of the answer's name in each language, whatever language
   the prompt is in. Multilingual models often rank the English name first in their middle layers
   (Wendler et al. 2024, "Do Llamas Work in English?", arXiv 2402.10588).
3. **Control**: the names of other objects of the relation, in the same prompt and languages. They
   come from the other facts that are asked, as far as there are enough, so that each object is as
   often fact as control. One that stands in the prompt or its examples is none, nor is one whose
   first token is a name of the fact, or whose name in the prompt's language begins like that in
   another one.

Only first tokens are read: the next ones depend on what is written before them, which costs a pass
for each name. Caveats: a rank says what a layer would write, and not what later layers read from
it; early layers are far from the un-embedding, and their ranks mean little. A masked model has as
many masks as the answer has tokens in the prompt's own language.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from lafn_viz.core.arguments import a_seed, or_none, some_languages, takes, whole
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.arguments import Facts, Prompts, as_facts, as_prompts
from lafn_viz.datasets.fact_files import load_facts
from lafn_viz.datasets.languages import require_languages
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.interventions.language_lens import LanguageLens
from lafn_viz.interventions.lens_names import NONE, LensError, Objects, tokens_of_names
from lafn_viz.models.batching import Batch, batches_of
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.generate_calls import prompts_given
from lafn_viz.models.hooks import (
    HOOK_UNEMBED,
    Hooks,
    hook_block,
    hook_block_out,
    hook_post,
    hooked,
    no_logits,
)
from lafn_viz.models.scoring import LOGITS_AT_ONCE
from lafn_viz.models.tokenizing import token_text
from lafn_viz.models.tokens import encode_all

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@reads_model
@takes(languages=or_none(some_languages), controls=whole(1), seed=a_seed, max_prompts=whole(1))
def language_lens(
    model: "TransformerBridge",
    prompts: Prompts,
    *,
    facts: Facts | None = None,
    languages: str | Sequence[str] | None = None,
    controls: int = 10,
    seed: int = 0,
    max_prompts: int = 32,
) -> LanguageLens:
    """Rank the names of each prompt's answer in all languages, after every layer.

    Args:
        prompts: of facts in several languages.
        facts: where the names come from, by the prompts' fact_id, and the other objects; by default
            the package's.
        languages: whose names are read; by default those of the prompts.
        controls: other objects for each prompt, at most.
        seed: of their choice.
        max_prompts: in one batch; bounds the memory.

    Raises:
        ValueError: for prompts in one language, a prompt whose fact is not among the facts, a
            relation without other objects, or where no prompt's own name can be told apart.
    """
    reading = LensReading.of(model, prompts, facts, languages, controls, seed)
    return reading.lens(model, max_prompts)


@dataclass(frozen=True)
class LensReading:
    """What a lens looks for after each prompt: the tokens of names, of the fact and of others."""

    prompts: tuple[Prompt, ...]
    languages: tuple[str, ...]
    names: Mapping[str, Mapping[str, str]]
    tokens: Sequence[Int[np.ndarray, "_ language"]]
    provenance: Provenance

    @classmethod
    def of(
        cls,
        model: "TransformerBridge",
        prompts: Prompts,
        facts: Facts | None,
        languages: str | Sequence[str] | None,
        controls: int,
        seed: int,
    ) -> "LensReading":
        """Find the tokens; the arguments and errors are those of `language_lens`."""
        asked = tuple(as_prompts(prompts))
        known = load_facts() if facts is None else as_facts(facts)
        objects = Objects.of(asked, {fact.id: fact for fact in known}, seed)
        spoken = tuple(dict.fromkeys(prompt.language for prompt in asked))
        codes = spoken if languages is None else require_languages(languages, known.languages)
        if len({*codes, *spoken}) < 2:
            raise LensError(
                f"all {len(asked)} prompts are in {spoken[0]!r}, so no language can lead before "
                "another; give prompts in several languages, or languages= whose names are read"
            )
        return cls(
            prompts=asked,
            languages=codes,
            names=objects.names(codes),
            tokens=[tokens_of_names(model, prompt, objects, codes, controls) for prompt in asked],
            provenance=provenance(
                model, "language_lens", seed=seed, controls=controls, languages=codes
            ),
        )

    def only(self, numbers: Sequence[int]) -> "LensReading":
        """The same for some of the prompts."""
        return replace(
            self,
            prompts=tuple(self.prompts[number] for number in numbers),
            tokens=[self.tokens[number] for number in numbers],
        )

    def lens(
        self,
        model: "TransformerBridge",
        max_prompts: int,
        zeroed: Bool[Tensor, "prompt layer neuron"] | None = None,
    ) -> LanguageLens:
        """Read the prompts, with some neurons at zero.

        Raises:
            LensError: where no prompt's own name can be told apart.
        """
        lens = LanguageLens(
            prompts=self.prompts,
            languages=self.languages,
            names=self.names,
            token=np.stack([of_prompt[0] for of_prompt in self.tokens]),
            **_read(model, self.prompts, self.tokens, max_prompts, zeroed),
            provenance=self.provenance,
        )
        if not lens.told_apart.any():
            raise LensError(
                f"in none of {len(self.prompts)} prompts does the answer begin with another token "
                f"than in all other languages ({', '.join(self.languages)}); give languages of "
                "other scripts, or other facts"
            )
        return lens


def _read(
    model: "TransformerBridge",
    asked: Sequence[Prompt],
    tokens: Sequence[Int[np.ndarray, "_ language"]],
    max_prompts: int,
    zeroed: Bool[Tensor, "prompt layer neuron"] | None,
) -> dict[str, Any]:
    """The fields of a `LanguageLens` that the model gives."""
    # At least one control, so that tables of none have a place for NaN.
    n_objects = max(2, *map(len, tokens))
    wanted = np.full((len(asked), n_objects, tokens[0].shape[1]), NONE)
    for number, of_prompt in enumerate(tokens):
        wanted[number, : len(of_prompt)] = of_prompt
    shape = len(asked), capabilities(model).n_layers + 1
    table = np.full((2, *shape, *wanted.shape[1:]), np.nan)
    top, top_prob = np.zeros(shape, dtype=int), np.zeros(shape)
    read_all = _layers(model, asked, torch.from_numpy(wanted), max_prompts, zeroed)
    for index, layers, read in read_all:
        for values, part in zip(table, (read.log_prob, read.rank), strict=True):
            values[index, layers] = part.numpy()
        top[index, layers], top_prob[index, layers] = read.top.numpy(), read.top_prob.numpy()
    table[:, np.broadcast_to((wanted == NONE)[:, None], table.shape[1:])] = np.nan
    texts = {number: token_text(model, number) for number in np.unique(top).tolist()}
    return {
        "log_prob": table[0, :, :, 0],
        "rank": table[1, :, :, 0],
        "control_log_prob": table[0, :, :, 1:],
        "control_rank": table[1, :, :, 1:],
        "written": tuple(tuple(texts[number] for number in row) for row in top.tolist()),
        "written_prob": top_prob,
    }


class _Read(NamedTuple):
    """What some rows would write: of tokens that are asked for, and of the likeliest one."""

    log_prob: Float[Tensor, "row object language"]
    rank: Int[Tensor, "row object language"]
    top: Int[Tensor, " row"]
    top_prob: Float[Tensor, " row"]


def _layers(
    model: "TransformerBridge",
    asked: Sequence[Prompt],
    wanted: Int[Tensor, "prompt object language"],
    max_prompts: int,
    zeroed: Bool[Tensor, "prompt layer neuron"] | None,
) -> Iterator[tuple[np.ndarray, np.ndarray, _Read]]:
    """Read the prompts; yield numbers of prompts and layers, and what is read there.

    The residual streams take the place of the last layer's output, side by side, so that whatever
    the model does behind it is done to them: the last norm, the head of a masked model, a
    projection. TransformerLens's `logit_lens` (tools.analysis) names these parts one by one and
    refuses masked models; where it serves, both agree (see the tests).
    """
    caps = capabilities(model)
    encoded = encode_all(model, asked)
    if not caps.masked:  # the answer itself is not read
        encoded = [
            replace(item, read=item.read[: item.predicts + 1], answer=item.answer[:1])
            for item in encoded
        ]
    for batch in batches_of(model, encoded, max_prompts=max_prompts):
        hidden = _streams(model, batch, None if zeroed is None else zeroed[batch.index])
        n_layers = caps.n_layers + 1
        index = batch.index.repeat(n_layers)
        layers = torch.arange(n_layers).repeat_interleave(len(batch.index))
        head = caps.unembedding
        vocab = hidden.shape[1] if head is None else len(head.weight)
        for rows in torch.arange(len(hidden)).split(max(1, LOGITS_AT_ONCE // vocab)):
            with torch.no_grad():  # not around `yield`: the reader keeps its own mode
                logits = hidden[rows].float() if head is None else head.logits(hidden[rows])
                read = _names_in(logits, wanted[index[rows]].to(logits.device))
            yield index[rows].numpy(), layers[rows].numpy(), read


def _streams(
    model: "TransformerBridge", batch: Batch, zeroed: Bool[Tensor, "prompt layer neuron"] | None
) -> Float[Tensor, "row _"]:
    """The input of the un-embedding for the stream at the answer, layer by layer; or its logits.

    Logits, where the un-embedding is more than a matrix, a bias and a cap. All that follows the
    last layer works position by position, so streams may stand at any position of any row: they
    fill rows of the batch's own length, which some models insist on.
    """
    caps, length = capabilities(model), batch.tokens.shape[1]
    n_rows = (caps.n_layers + 1) * len(batch.tokens)
    streams: list[Tensor] = []
    taken: list[Tensor] = []

    def keep(value: Tensor, hook: Any) -> None:
        streams.append(value[:, batch.predicts])

    def put(value: Tensor, hook: Any) -> Tensor:
        rows = torch.cat([*streams, value[:, batch.predicts]])
        return pad(rows, (0, 0, 0, -n_rows % length)).unflatten(0, (-1, length))

    def take(value: Tensor, hook: Any) -> Tensor:
        taken.append(value)
        return no_logits(value)

    hooks: Hooks = [(hook_block(layer), keep) for layer in range(caps.n_layers)]
    hooks.append((hook_block_out(caps.n_layers - 1), put))
    if caps.unembedding is not None:
        hooks.append((HOOK_UNEMBED, take))
    if zeroed is not None:
        hooks += _zeros(zeroed, batch.at)
    given = batch.tokens if caps.masked else batch.tokens[:, : batch.predicts + 1]
    with torch.no_grad(), prompts_given(model, given), hooked(model, hooks):
        logits = model(batch.tokens)
    return (taken[0] if taken else logits).flatten(0, 1)[:n_rows]


def _zeros(zeroed: Bool[Tensor, "prompt layer neuron"], at: slice) -> Hooks:
    """Hooks that set each prompt's own neurons to zero at some positions."""

    def zero(layer: int) -> Callable[..., Tensor]:
        def hook(value: Tensor, hook: Any) -> Tensor:
            value = value.clone()
            chosen = zeroed[:, layer, None].to(value.device)
            value[:, at] = value[:, at].masked_fill(chosen, 0)
            return value

        return hook

    return [
        (hook_post(layer), zero(layer)) for layer in zeroed.any(2).any(0).nonzero()[:, 0].tolist()
    ]


def _names_in(
    logits: Float[Tensor, "row vocab"], wanted: Int[Tensor, "row object language"]
) -> _Read:
    """Log-probability (nats) and rank of the wanted tokens, and the likeliest token, on the CPU."""
    ids = wanted.flatten(1).clamp(min=0)
    chosen = logits.gather(1, ids)
    # All ranks in one pass over the vocabulary: count the logits between two chosen ones.
    ordered, order = chosen.sort(1)
    below = torch.searchsorted(ordered, logits)
    count = torch.zeros(len(ids), ids.shape[1] + 1, dtype=torch.long, device=logits.device)
    count.scatter_add_(1, below, torch.ones_like(below))
    above = count.flip(1).cumsum(1).flip(1)[:, 1:]
    rank = torch.empty_like(above).scatter_(1, order, above)
    total = logits.logsumexp(1, keepdim=True)
    best, top = logits.max(1)
    return _Read(
        log_prob=(chosen - total).view(wanted.shape).cpu(),
        rank=rank.view(wanted.shape).cpu(),
        top=top.cpu(),
        top_prob=(best - total[:, 0]).exp().cpu(),
    )
