"""Checks of unit 5, making an edit: its loss, the neurons it keeps, and where it acts."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from lafn_viz.course.grading import TOLERANCE, Wrong, check, members, number, recognise, run
from lafn_viz.datasets.counterfactuals import counterfactual_case
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.cache import edited
from lafn_viz.editing.edit import Edit
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import provenance
from lafn_viz.models.hooks import down_weight, hook_post
from lafn_viz.models.scoring import score_answers
from lafn_viz.models.tokens import encode
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@check
@reads_model
def check_edit_loss(answer: Callable, model: "TransformerBridge", facts: FactSet) -> str:
    """`answer(p)`: the mean of -log P(new object) over prompts."""
    rng = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(12, 50, generator=rng)
    new = torch.randint(50, (12,), generator=rng)
    _judge_loss(answer, logits, new)

    case = counterfactual_case(facts, subject="Japan", relation="capital", new_object="Rome")
    asked = {prompt.language: prompt for prompt in reversed(case.prompts("edit"))}
    prompts = [p for p in asked.values() if len(encode(model, p).answer) == 1]
    read = [encode(model, prompt) for prompt in prompts]
    logits = torch.stack([model(torch.tensor([item.read]))[0, -1] for item in read])
    got = _judge_loss(answer, logits, torch.tensor([item.answer[0] for item in read]))
    # An independent reference: how the library scores answers.
    log_p = score_answers(model, prompts).log_prob
    if abs(got + float(log_p.mean())) > 1e-2:
        raise Wrong(f"For real prompts the loss is {-float(log_p.mean()):.3f}; yours is {got:.3f}.")
    log_p[0] = 0
    return (
        f"Before any edit the loss of Rome is {got:.1f} nats, over {len(prompts)} languages. If "
        "one of them were perfect and the others unchanged, it would be "
        f"{-float(log_p.mean()):.1f}: no language can make up for the others. (-log of the mean "
        f"probability would fall to {-float(log_p.exp().mean().log()):.1f}.)"
    )


def _judge_loss(answer: Callable, logits: torch.Tensor, new: torch.Tensor) -> float:
    p = logits.softmax(-1)[torch.arange(len(new)), new]
    value = number(run(answer, p.clone()))
    right = float(torch.nn.functional.cross_entropy(logits, new))
    if abs(value - right) <= TOLERANCE * max(1.0, abs(right)):
        return value
    others = {
        float(p.log().mean()): (
            "Your sign is the wrong way round. An optimiser minimises the loss, so it would make "
            "the new object as unlikely as it can."
        ),
        float(-p.mean()): (
            "This is minus the mean probability. It is flat where P is nearly 0, so an optimiser "
            "finds no direction; take the logarithm of each probability."
        ),
        float(p.mean()): (
            "This is the mean probability. An optimiser minimises the loss, so take the logarithm "
            "of each probability, and the minus sign."
        ),
        float(1 - p.mean()): (
            "This is 1 minus the mean probability. It is flat where P is nearly 0, so an optimiser "
            "finds no direction; take the logarithm of each probability."
        ),
        float(-p.mean().log()): (
            "This is -log of the mean probability. One language with P = 1 is enough to make it "
            "small; take the logarithm first, then the mean."
        ),
        float(-p.log().sum()): (
            "This is the sum. Take the mean, which does not grow with the number of languages."
        ),
    }
    recognise(value, others)
    raise Wrong(f"For one set of probabilities the loss is {right:.4f}; yours is {value:.4f}.")


@check
@reads_model
def check_writes_most(answer: Callable, model: "TransformerBridge") -> str:
    """`answer(values, W_out, n)`: the n neurons whose values write most to the residual stream."""
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 7, generator=rng) * torch.rand(40, 1, generator=rng)
    tables = [(rows, 10)]
    tables += [(down_weight(model, layer).float(), 160) for layer in range(model.cfg.n_layers)]
    for W_out, n in tables:
        values = torch.randn(len(W_out), generator=rng)
        got = members(run(answer, values, W_out, n))
        written = values[:, None] * W_out  # what is added to the stream, a row a neuron
        lengths = written.norm(dim=1)
        right = _top(lengths, n)
        if got == right:
            continue
        if len(got) != n:
            raise Wrong(f"Return {n} neurons; yours are {len(got)}.")
        norms = W_out.norm(dim=1)
        if got == _top(values * norms, n):
            raise Wrong(
                "You keep the sign of the values. But a value far below zero writes as much as one "
                "far above: take its absolute value."
            )
        if got == _top(values.abs(), n):
            raise Wrong(
                "These are the neurons with the largest values. How much a value writes also "
                "depends on the length of the row of `W_out` that it multiplies."
            )
        if got == _top(values, n):
            raise Wrong("You rank the values with their sign and without `W_out`.")
        if got == _top(norms, n):
            raise Wrong("You rank the rows of `W_out` by length; use the values, too.")
        if got == _top(-lengths, n):
            raise Wrong("These are the neurons that write least; take those that write most.")
        raise Wrong(
            f"Of {len(W_out)} neurons you choose {n}, and {len(got & right)} of these are right."
        )
    share = float(lengths[list(right)].square().sum() / lengths.square().sum())
    return (
        f"With random values in the last layer, the best {n} of {len(lengths)} neurons write "
        f"{share:.0%} of the total squared length, and the other three quarters {1 - share:.0%}."
    )


def _top(values: torch.Tensor, n: int) -> set[int]:
    return set(values.topk(n).indices.tolist())


@check
@reads_model
def check_with_values(answer: Callable, model: "TransformerBridge", prompt: Prompt) -> str:
    """`answer(model, tokens, layer, neurons, values, first)`: logits at every position."""
    read = encode(model, prompt)
    tokens, first = torch.tensor([read.read[: read.predicts + 1]]), read.subject_last
    rng = torch.Generator().manual_seed(0)
    before = model(tokens)[0]
    right = before
    for layer in range(model.cfg.n_layers):
        neurons = torch.randperm(model.cfg.d_mlp, generator=rng)[:100].tolist()
        values = 2 * torch.rand(len(neurons), generator=rng) + 1
        got = run(answer, model, tokens, layer, neurons, values, first)
        with edited(model, _edit(model, prompt, layer, neurons, values)):
            right = model(tokens)[0]
        if not isinstance(got, torch.Tensor) or got.shape != right.shape:
            raise Wrong(
                f"Return the logits at every position, with the shape {tuple(right.shape)}; leave "
                "the last line of the function as it is."
            )
        if torch.allclose(got, right, atol=1e-3):
            continue
        _explain_values(got, before, model, tokens, (layer, neurons, values, first))
        wrong = (got - right).abs().amax(-1) > 1e-3
        raise Wrong(
            f"In layer {layer} your logits differ from those of `lv.edited` at the positions "
            f"{wrong.nonzero()[:, 0].tolist()}; the subject's last token is at position {first}."
        )
    token = read.answer[0]
    p, now = (float(logits[-1].softmax(-1)[token]) for logits in (before, right))
    return (
        f"Your logits are those of `lv.edited`. Random values for {len(neurons)} random neurons of "
        f"the last layer take P({prompt.answer}) from {p:.3f} to {now:.3f}. An edit does the same, "
        "with neurons and values that were searched for."
    )


def _edit(
    model: "TransformerBridge",
    prompt: Prompt,
    layer: int,
    neurons: list[int],
    values: torch.Tensor,
) -> Edit:
    """An edit made by hand, for the library to apply."""
    return Edit(
        subject_id=prompt.subject,
        relation=prompt.relation,
        names={prompt.language: (prompt.subject,)},
        old={},
        new={prompt.language: prompt.answer},
        neurons=tuple(Neuron(layer, neuron) for neuron in neurons),
        values=values,
        position="from_subject",
        curve=(0.0,),
        loss=0.0,
        divergence=0.0,
        prompts=(prompt,),
        provenance=provenance(model, "by hand"),
    )


def _explain_values(
    got: torch.Tensor,
    before: torch.Tensor,
    model: "TransformerBridge",
    tokens: torch.Tensor,
    given: tuple[int, list[int], torch.Tensor, int],
) -> None:
    layer, neurons, values, first = given

    def logits(where: slice, *, add: bool = True) -> torch.Tensor:
        def change(value: torch.Tensor, hook: object) -> torch.Tensor:
            value = value.clone()
            changed = value[:, where]
            changed[..., neurons] = changed[..., neurons] + values if add else values
            return value

        with model.hooks(fwd_hooks=[(hook_post(layer), change)]):
            return model(tokens)[0]

    at_all = slice(None)
    for other, why in (
        (
            before,
            "Nothing has changed. Do you return the tensor that you changed? (Indexing with a list "
            "makes a copy.)",
        ),
        (
            logits(slice(first, None), add=False),
            "Your values replace the activations, so what the neurons did before is lost. Add the "
            "values to the activations.",
        ),
        (
            logits(at_all, add=False),
            "Your values replace the activations at every position. Add them, from `first` on.",
        ),
        (
            logits(at_all),
            "You add the values at every position, even before the subject. Index the second axis "
            "from `first` on.",
        ),
        (
            logits(slice(first, first + 1)),
            "You add the values only at the subject's last token. The later positions, up to the "
            "answer's, need them too.",
        ),
        (
            logits(slice(first + 1, None)),
            "Your values start too late, after the subject or only at the last position: start at "
            "position `first`.",
        ),
    ):
        if torch.allclose(got, other, atol=1e-3):
            raise Wrong(why)
