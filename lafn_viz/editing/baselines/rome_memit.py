"""ROME and MEMIT: rank-one and least-squares edits of the down projections.

For each language of a case, at the edited position (a row of each matrix):

1. **Key** k: the mean of what the layer's neurons do over the language's questions.
2. **Target value** v* = v + r: r is what the layer must write in addition for the new answer; it is
   found by gradient (`optimise_residuals`), with a Kullback-Leibler term on the prompts to keep.
3. **Change** of W so that k (W + dW) = v*: rank one, one language after the other (`rome`; Meng et
   al. 2022, arXiv 2202.05262, eq. 2), or least squares over all languages and cases, spread over
   several layers (`memit`; Meng et al. 2023, arXiv 2210.07229, eq. 14 and section 4.3).

`weight_edits` has both closed forms. The papers take the key from one subject in one language; here
a case has as many keys as languages. `search="as_published"` and `prefixes` are the authors' way to
find values and keys (see `search.AdamSearch` and `random_prefixes`).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.arguments import Reader, one_of, real, some_wholes, takes, whole
from lafn_viz.core.messages import quoted
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.baselines.weight_edits import (
    WeightEdit,
    least_squares,
    optimise_residuals,
    rank_one,
    second_moments,
)
from lafn_viz.editing.forward import EditedForward, EditPosition, acted_on
from lafn_viz.editing.kept import kept_prompts
from lafn_viz.editing.loss import EditLoss
from lafn_viz.editing.search import CLAMP, AdamSearch, LBFGSSearch, Minimiser, Search
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import hook_block_out, hook_post, hook_written
from lafn_viz.models.quiet import quiet
from lafn_viz.models.weights import device_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

CLAMP_OF_STREAM = 0.75  # as in the code of MEMIT's authors (github.com/kmeng01/memit)
PREFIX_TOKENS = (5, 10)  # half of the prefixes have so many tokens, half so many

_SEARCH: dict[str, Reader] = {
    "position": one_of(get_args(EditPosition)), "divergence": real(least=0),
    "decay": real(least=0), "evaluations": whole(1), "search": one_of(get_args(Search)),
    "prefixes": whole(0),
}  # fmt: skip


@takes(layer=whole(0), **_SEARCH)
def rome(
    *,
    layer: int = 0,
    position: EditPosition = "subject_last",
    divergence: float = 0.0625,
    decay: float = 1e-3,
    evaluations: int = 24,
    search: Search = "lbfgs",
    prefixes: int = 0,
    corpus: Prompts | None = None,
) -> Editor:
    """ROME: a rank-one change for the key and target value of each language, one after the other.

    Args:
        layer: whose down projection changes.
        position: where keys and target values are read: "subject_last" (the paper) is the subject's
            last token, "answer" the prompt's last token, "from_subject" the same as "subject_last".
        divergence, decay, evaluations: of the search for the target values.
        search: "lbfgs", or "as_published": Adam, with a change at most four times as long as what
            the layer writes (there `decay=0.5`).
        prefixes: texts by the model itself, each read before every question, too (there 20).
        corpus: prompts whose keys shall keep their values; the embedded facts' unless given.

    The editor raises ValueError where no neuron of the layer is active at the position, which
    leaves it without a key.
    """

    stays = None if corpus is None else as_prompts(corpus, "corpus")

    @reads_model
    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        before = random_prefixes(model, prefixes)
        target_values = TargetValues(model, case, languages, position, before)
        keys = target_values.keys(layer)
        minimiser = target_values.minimiser(search, hook_written(layer), CLAMP)
        residuals = target_values.residuals(layer, divergence, decay, minimiser, evaluations)
        moment = second_moments(model, stays)[layer]
        return WeightEdit({layer: rank_one(moment, keys, residuals)})

    options = {
        "layer": layer, "position": position, "divergence": divergence, "decay": decay,
        "evaluations": evaluations, "search": search, "prefixes": prefixes,
    }  # fmt: skip
    return Editor("ROME", edit, options)


@takes(layers=some_wholes(0), weight=real(above=0), **_SEARCH)
def memit(
    *,
    layers: int | Sequence[int] = (0,),
    position: EditPosition = "subject_last",
    weight: float = 10.0,
    divergence: float = 0.0625,
    decay: float = 1e-3,
    evaluations: int = 24,
    search: Search = "lbfgs",
    prefixes: int = 0,
    corpus: Prompts | None = None,
) -> Editor:
    """MEMIT: one least-squares change for all languages, and for all cases edited together.

    Args:
        layers: whose down projections share the change; the target values are those of the last.
        position: as in `rome`.
        weight: of the corpus against the edit (lambda; there 15,000).
        divergence, decay, evaluations: of the search for the target values.
        search: as in `rome`, but a change is at most three quarters as long as the residual stream.
        prefixes: as in `rome`.
        corpus: prompts whose keys shall keep their values; the embedded facts' unless given.

    The editor raises ValueError where no neuron of a layer is active at the position, as in `rome`.
    """
    changed = some_wholes(0)("layers", layers)
    if not changed:
        raise ValueError("layers=(); give at least one layer")
    last = max(changed)
    stays = None if corpus is None else as_prompts(corpus, "corpus")

    def solve(model: "TransformerBridge", of_cases: Sequence[TargetValues]) -> WeightEdit:
        def block_outputs() -> Tensor:
            return torch.cat([values.mean(hook_block_out(last)) for values in of_cases])

        for layer in changed:  # refuse before the search
            for values in of_cases:
                values.keys(layer)
        moments = second_moments(model, stays)
        residuals = []
        for values in of_cases:
            minimiser = values.minimiser(search, hook_block_out(last), CLAMP_OF_STREAM)
            residuals.append(values.residuals(last, divergence, decay, minimiser, evaluations))
        target = block_outputs() + torch.cat(residuals)
        changes: dict[int, Tensor] = {}
        for layer in sorted(changed):
            with WeightEdit(changes).applied(model):
                missing = target - block_outputs()
                keys = torch.cat([values.keys(layer) for values in of_cases])
            # Each layer closes its part of the gap; the layers after it share the rest.
            spread = missing / (last - layer + 1)
            changes[layer] = least_squares(moments[layer], keys, spread, weight=weight)
        return WeightEdit(changes)

    @reads_model
    def edit(model: "TransformerBridge", case: EditCase, languages: Sequence[str]) -> WeightEdit:
        before = random_prefixes(model, prefixes)
        return solve(model, [TargetValues(model, case, languages, position, before)])

    @reads_model
    def edit_all(model: "TransformerBridge", cases: Sequence[EditCase]) -> WeightEdit:
        before = random_prefixes(model, prefixes)
        return solve(
            model, [TargetValues(model, case, case.languages, position, before) for case in cases]
        )

    options = {
        "layers": changed, "position": position, "weight": weight, "divergence": divergence,
        "decay": decay, "evaluations": evaluations, "search": search, "prefixes": prefixes,
    }  # fmt: skip
    return Editor("MEMIT", edit, options, edit_all)


@torch.no_grad()
def random_prefixes(model: "TransformerBridge", count: int, *, seed: int = 0) -> list[str]:
    """Texts that the model writes after nothing, for keys that do not depend on what stands before.

    As by ROME's authors: each token is one of the five likeliest, half of the texts have 5 tokens
    and half 10.
    """
    if not count:
        return []
    tokenizer, original = model.tokenizer, model.original_model
    start = capabilities(model).special_prefix or (tokenizer.eos_token_id,)
    texts = []
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(seed)
        for number, length in enumerate(PREFIX_TOKENS):
            n_texts = (count + 1 - number) // 2
            rows = torch.tensor([start] * n_texts, device=device_of(original))
            if n_texts:
                written = original.generate(
                    rows, do_sample=True, top_k=5, max_new_tokens=length, min_new_tokens=length,
                    pad_token_id=tokenizer.eos_token_id,
                )  # fmt: skip
                texts += tokenizer.batch_decode(written, skip_special_tokens=True)
    return [text for text in (" ".join(text.split()) for text in texts) if text]


class TargetValues:
    """Keys and target values (the papers' v*) of one case; one row for each language."""

    def __init__(
        self,
        model: "TransformerBridge",
        case: EditCase,
        languages: Sequence[str],
        position: EditPosition,
        prefixes: Sequence[str] = (),
    ) -> None:
        edited = acted_on(case.prompts("edit", languages=languages), position)
        before = [(), *((text,) for text in prefixes)]
        edited = [replace(p, examples=(*text, *p.examples)) for p in edited for text in before]
        keep = acted_on(kept_prompts(model, case, languages), position)
        with_questions = {prompt.language for prompt in edited}
        self.edited, self.keep = edited, [p for p in keep if p.language in with_questions]
        # Read whole: a change of weights acts before the edited position too.
        self.forward = EditedForward(model, edited, position, once=True, whole=True)

    def residuals(
        self,
        layer: int,
        divergence: float,
        decay: float,
        minimiser: Minimiser,
        evaluations: int,
    ) -> Float[Tensor, "group d_model"]:
        """v* - v of each language: what the layer has to write in addition."""
        forward = self.forward
        edit_loss = EditLoss(forward.model, self.edited, self.keep, forward.position, once=True)
        groups = [prompt.language for prompt in (*self.edited, *self.keep)]
        return optimise_residuals(
            edit_loss, groups, layer,
            divergence=divergence, decay=decay, minimiser=minimiser, evaluations=evaluations,
        )  # fmt: skip

    def minimiser(self, search: Search, hook_name: str, clamp: float) -> Minimiser:
        """What searches the residuals; as published, they are bounded by the value of a hook."""
        if search == "lbfgs":
            return LBFGSSearch()
        return AdamSearch(self.mean(hook_name).norm(dim=1), clamp=clamp)

    def keys(self, layer: int) -> Float[Tensor, "group neuron"]:
        """The key of each language: what a layer's neurons do at the edited position.

        Raises:
            ValueError: where no neuron of the layer is active. A weight is changed in proportion to
                its neuron, so no change could write anything there.
        """
        keys = self.mean(hook_post(layer))
        languages = list(dict.fromkeys(prompt.language for prompt in self.edited))
        silent = [name for name, key in zip(languages, keys, strict=True) if not key.any()]
        if silent:
            raise ValueError(
                f"layer={layer}, position={self.forward.position!r}: no neuron of the layer is "
                f"active there in {quoted(silent)}, so its weights cannot write an answer; give "
                "another layer or position"
            )
        return keys

    def mean(self, hook_name: str) -> Float[Tensor, "group width"]:
        """The value of a hook at the edited position, averaged over each language's questions."""
        values = self.forward.seen([hook_name])[hook_name].cpu()
        rows: dict[str, list[int]] = defaultdict(list)
        for i, prompt in enumerate(self.edited):
            rows[prompt.language].append(i)
        return torch.stack([values[numbers].mean(0) for numbers in rows.values()])
