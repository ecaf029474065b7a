"""Checks of unit 5: the loss of an edit, which neurons stay, where it acts, how it is judged."""

import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

from lafn_viz.course.grading import UNFILLED, Wrong, check, members, number, run
from lafn_viz.datasets.counterfactuals import counterfactual_case
from lafn_viz.datasets.facts import FactSet, Prompt
from lafn_viz.editing.cache import edited
from lafn_viz.editing.edit import Edit
from lafn_viz.editing.retrieval.subject_matcher import SubjectMatcher
from lafn_viz.models.capabilities import provenance
from lafn_viz.models.hooks import down_weight, hook_post
from lafn_viz.models.scoring import score_answers
from lafn_viz.models.tokens import encode
from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

TOLERANCE = 1e-4

Row = dict[str, Any]


@check
def check_edit_loss(answer: Callable, model: "TransformerBridge", facts: FactSet) -> str:
    """`answer(p)`: mean of -log P(new object) over prompts."""
    rng = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(12, 50, generator=rng)
    new = torch.randint(50, (12,), generator=rng)
    _judge_loss(answer, logits, new)

    case = counterfactual_case(facts, subject="Japan", relation="capital", new_object="Rome")
    asked = {prompt.language: prompt for prompt in reversed(case.prompts("edit"))}
    prompts = [p for p in asked.values() if len(encode(model, p).answer) == 1]
    read = [encode(model, prompt) for prompt in prompts]
    logits = torch.stack([model(torch.tensor([one.read]))[0, -1] for one in read])
    got = _judge_loss(answer, logits, torch.tensor([one.answer[0] for one in read]))
    # The library's own reader, which knows nothing of this exercise.
    log_p = score_answers(model, prompts).log_prob
    if abs(got + float(log_p.mean())) > 1e-2:
        raise Wrong(f"For real prompts {-float(log_p.mean()):.3f} is right; yours is {got:.3f}.")
    log_p[0] = 0
    return (
        f"Before any edit Rome is {got:.1f} nats away in {len(prompts)} languages. With one of "
        f"them perfect and the others as they are it would be {-float(log_p.mean()):.1f}: no "
        f"language can pay for the others. (-log of the mean probability would fall to "
        f"{-float(log_p.exp().mean().log()):.1f}.)"
    )


def _judge_loss(answer: Callable, logits: torch.Tensor, new: torch.Tensor) -> float:
    p = logits.softmax(-1)[torch.arange(len(new)), new]
    value = number(run(answer, p.clone()))
    right = float(torch.nn.functional.cross_entropy(logits, new))
    if abs(value - right) <= TOLERANCE * max(1.0, abs(right)):
        return value
    others = {
        float(p.log().mean()): (
            "The sign is turned round: an optimiser looks for the least, and would make the new "
            "object as unlikely as it can."
        ),
        float(-p.mean()): (
            "This is minus the mean probability. Where P is nearly 0 it is flat, and an optimiser "
            "finds no way; take the logarithm of each."
        ),
        float(p.mean()): "This is the mean probability itself: higher is better, and no logarithm.",
        float(1 - p.mean()): (
            "This is 1 less the mean probability. Where P is nearly 0 it is flat, and an optimiser "
            "finds no way; take the logarithm of each."
        ),
        float(-p.mean().log()): (
            "This is -log of the mean probability. One language with P = 1 is enough for that to "
            "be small; take the logarithm first, then the mean."
        ),
        float(-p.log().sum()): "This is the sum; the mean does not grow with the languages.",
    }
    _recognise(value, others)
    raise Wrong(f"For one draw of probabilities {right:.4f} is right; yours is {value:.4f}.")


@check
def check_writes_most(answer: Callable, model: "TransformerBridge") -> str:
    """`answer(values, W_out, n)`: the n neurons whose values write most to the stream."""
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
            raise Wrong(f"{n} neurons are asked for, yours are {len(got)}.")
        norms = W_out.norm(dim=1)
        if got == _top(values * norms, n):
            raise Wrong(
                "These are the largest with their sign. A value far below zero writes as much as "
                "one far above: take it without its sign."
            )
        if got == _top(values.abs(), n):
            raise Wrong(
                "These are the neurons of the largest values. How much a value writes depends on "
                "the row of `W_out` that it multiplies: take the row's length too."
            )
        if got == _top(values, n):
            raise Wrong("These are the largest values, with their sign and without `W_out`.")
        if got == _top(norms, n):
            raise Wrong("These are the longest rows of `W_out`; the values take no part.")
        if got == _top(-lengths, n):
            raise Wrong("These are the neurons that write least.")
        raise Wrong(f"Among {len(W_out)} neurons {len(got & right)} of your {n} are right.")
    share = float(lengths[list(right)].square().sum() / lengths.square().sum())
    return (
        f"With random values in the last layer, the best {n} of {len(lengths)} neurons write "
        f"{share:.0%} of all, in squared length; the other three quarters {1 - share:.0%}."
    )


def _top(values: torch.Tensor, n: int) -> set[int]:
    return set(values.topk(n).indices.tolist())


@check
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
                f"The logits at every position are asked for, shape {tuple(right.shape)}; leave "
                "the last line of the function as it is."
            )
        if torch.allclose(got, right, atol=1e-3):
            continue
        _explain_values(got, before, model, tokens, (layer, neurons, values, first))
        wrong = (got - right).abs().amax(-1) > 1e-3
        raise Wrong(
            f"In layer {layer} the logits differ at the positions {wrong.nonzero()[:, 0].tolist()} "
            f"from those of `lv.edited`; the subject's last token stands at {first}."
        )
    token = read.answer[0]
    p, now = (float(logits[-1].softmax(-1)[token]) for logits in (before, right))
    return (
        f"The same logits as by `lv.edited`. {len(neurons)} random neurons of the last layer with "
        f"random values: P({prompt.answer}) from {p:.3f} to {now:.3f}. An edit is this, with "
        "neurons and values that were looked for."
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
            there = value[:, where]
            there[..., neurons] = there[..., neurons] + values if add else values
            return value

        with model.hooks(fwd_hooks=[(hook_post(layer), change)]):
            return model(tokens)[0]

    at_all = slice(None)
    for other, why in (
        (
            before,
            "Nothing has changed. Is the tensor that you changed the one you return? (An index "
            "with a list gives a copy.)",
        ),
        (
            logits(slice(first, None), add=False),
            "Your values take the place of the activations. What the neurons did before is lost: "
            "add to it.",
        ),
        (logits(at_all, add=False), "Your values take the place of the activations everywhere."),
        (
            logits(at_all),
            "The values are added at every position, before the subject too. Index the second "
            "axis from `first` on.",
        ),
        (
            logits(slice(first, first + 1)),
            "The values are added at the subject's last token alone. What follows it, the "
            "answer's position included, needs them too.",
        ),
        (
            logits(slice(first + 1, None)),
            "The values begin too late, after the subject or at the last position alone: position "
            "`first` belongs to them.",
        ),
    ):
        if torch.allclose(got, other, atol=1e-3):
            raise Wrong(why)


@check
def check_edit_scores(answer: Callable) -> str:
    """`answer(rows)`: reliability, generality, locality of a table of answers."""
    rng = random.Random(97)  # all measures, and what slips would make of them, differ
    right: dict[str, float] = {}
    for size in (24, 60):
        rows = _answers(rng, size)
        got = run(answer, rows)
        right = _scores(rows)
        if not isinstance(got, dict) or set(got) != set(right):
            raise Wrong(f"A dict of {', '.join(right)} is asked for; leave the last line as it is.")
        general, local = number(got["generality"]), number(got["locality"])
        if max(abs(general - right["locality"]), abs(local - right["generality"])) < TOLERANCE:
            raise Wrong("Generality and locality are exchanged.")
        for name, value in right.items():
            given = number(got[name])
            if abs(given - value) < TOLERANCE:
                continue
            _recognise(given, _slips(name, rows))
            raise Wrong(f"For a table of {size} rows the {name} is {value:.3f}; yours {given:.3f}.")
    told = ", ".join(f"{name} {value:.2f}" for name, value in right.items())
    return f"In the last table of this check {told}: three questions, three answers."


def _answers(rng: random.Random, size: int) -> list[Row]:
    """Answers drawn at random, some of every kind."""
    rows = []
    for i in range(size):
        kind = ("optimised", "new wording", "other question")[i % 3]
        fact, optimised = kind != "other question", kind == "optimised"
        before = rng.choice(["Tokyo", "Tokyo", "Rome"] if fact else ["Lima", "Cairo", "Oslo"])
        # After an edit: the new object, the old one, or something else.
        hits = {"optimised": 0.95, "new wording": 0.7, "other question": 0.8}[kind]
        other = rng.choice(["Paris", "Berlin"] if fact else ["Rome", "Paris"])
        after = ("Rome" if fact else before) if rng.random() < hits else other
        rows.append(
            {"fact": fact, "optimised": optimised, "before": before, "after": after, "new": "Rome"}
        )
    rng.shuffle(rows)
    return rows


def _share(passed: Iterable[bool]) -> float:
    listed = list(passed)
    return sum(listed) / len(listed)


def _scores(rows: list[Row]) -> dict[str, float]:
    fact, rest = [r for r in rows if r["fact"]], [r for r in rows if not r["fact"]]
    return {
        "reliability": _share(r["after"] == r["new"] for r in fact if r["optimised"]),
        "generality": _share(r["after"] == r["new"] for r in fact if not r["optimised"]),
        "locality": _share(r["after"] == r["before"] for r in rest),
    }


def _slips(name: str, rows: list[Row]) -> dict[float, str]:
    fact, rest = [r for r in rows if r["fact"]], [r for r in rows if not r["fact"]]
    if name == "locality":
        return {
            _share(r["after"] == r["new"] for r in rest): (
                "Locality is held against the new object here. Of another question nothing should "
                "change: compare with what was written before."
            ),
            _share(r["after"] != r["new"] for r in rest): (
                "Locality asks here that the new object does not come. A third answer would be "
                "damage too: compare with what was written before."
            ),
            _share(r["after"] == r["before"] for r in rows): (
                "Your locality counts the edited fact too, which is to change."
            ),
        }
    return {
        _share(r["after"] == r["new"] for r in fact): (
            f"Your {name} counts all wordings of the fact. Those that were optimised are "
            "reliability, the others generality: an optimiser has seen only the first."
        ),
        _share(r["after"] == r["new"] for r in fact if r["optimised"] == (name != "reliability")): (
            "Reliability and generality are exchanged, or counted alike: generality is of wordings "
            "that were not optimised."
        ),
        _share(r["after"] == r["new"] for r in rows if not r["optimised"]): (
            f"Your {name} counts other questions too: only rows that ask for the fact belong to it."
        ),
        _share(r["after"] != r["before"] for r in fact if not r["optimised"]): (
            "That an answer changed is not enough: it has to be the new object."
        ),
    }


# Each with names that are not in it, as they stand there or as parts of words.
TEXTS = (
    ("The capital of Niger is", "Niger", ()),
    ("Peru, a country in South America, has the capital", "Peru", ()),
    ("The capital of Costa Rica is", "Costa Rica", ("Puerto Rico",)),
    ("Столица Перу —", "Перу", ()),
    ("the capital of niger is", "Niger", ()),
    ("WHAT IS SPOKEN IN COSTA RICA?", "Costa Rica", ()),
    ("The capital of Nigeria is", "Nigeria", ("Niger",)),
    ("The capital of Romania is", "Romania", ("Oman",)),
    ("Somalia's capital is", "Somalia", ("Mali",)),
    ("Перуанская кухня", "кухня", ("Перу",)),
    ("What is spoken in Costa Mesa?", "Costa Mesa", ("Costa Rica",)),
    ("Somali is spoken in Somalia", "Somalia", ("Mali",)),
    ("A Roman in Italy", "Italy", ("Oman",)),
    ("Rica lives on the Costa Brava", "Rica", ("Costa Rica",)),
)


@check
def check_speaks_of(answer: Callable) -> str:
    """`answer(text, name)`: whether a text has a name in it, as whole words, in any case."""
    pairs = [(text, name) for text, name, _ in TEXTS]
    pairs += [(text, absent) for text, _, some in TEXTS for absent in some]
    for text, name in pairs:
        found = _found(answer, text, name)
        # Of languages with spaces this is what the library's rules 1 and 2 find.
        matcher = SubjectMatcher({"it": {"en": name}}, rules=("exact", "normalised"))
        right = bool(matcher.find(text))
        if found == right:
            continue
        if found and name in text:
            raise Wrong(f"{name!r} is found in {text!r}, inside of a longer word.")
        if found and name.casefold() in text.casefold():
            raise Wrong(
                f"{name!r} is found in {text!r}, inside of a longer word, once case is folded."
            )
        if found:
            raise Wrong(f"{name!r} is found in {text!r}, where it is not.")
        if name not in text:
            raise Wrong(f"{name!r} is not found in {text!r}: fold the case of both.")
        raise Wrong(
            f"{name!r} is not found in {text!r}. Words end at commas and apostrophes too, and a "
            "name can have several words. (Without `r` before its quotes, `\\b` in a pattern is a "
            "backspace.)"
        )
    text, name = "日本的首都是", "日本"
    finds = "finds" if _found(answer, text, name) else "does not find"
    found_by = SubjectMatcher({"it": {"zh": name}}).find(text)[0].rule
    return (
        f"So in all {len(pairs)} texts. Your function {finds} {name} in {text}, where no space "
        f"shows the words; the cache finds it by its rule {found_by!r}."
    )


def _found(answer: Callable, text: str, name: str) -> bool:
    """What the answer says, where None counts as no: `re.search` gives it."""
    if not callable(answer):
        run(answer)
    (got,) = run(lambda: (answer(text, name),))
    if got is ...:
        raise Wrong(UNFILLED)
    return bool(got)


def _recognise(value: float, known: dict[float, str]) -> None:
    """Raise what is wrong, if some mistake would give this value."""
    for other, why in known.items():
        if abs(value - other) <= TOLERANCE * max(1.0, abs(other)):
            raise Wrong(why)
