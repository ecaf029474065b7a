"""Ground truth: plant facts whose neurons are known, and see which method finds them.

No tool can say whether its attribution names the right neurons of a trained model. So we add some:

1. Take subjects that the model reads in every language but was never told this relation of (a
   country that it knows by currency and continent, not by capital), and give each an object.
2. Widen the feed-forward layers of a *copy* of the model. An **agnostic** neuron fires when the new
   fact is asked in any language, a **specific** one in exactly one language. Input weights come
   from a ridge regression of the layer's input at the answer position (after its layer norm), in
   which a negative counts only while it fires: other subjects, the same subjects asked for other
   relations, and (specific) the same fact in other languages.
3. Output weights are learned by gradient, with all else frozen: first what a fact's agnostic
   neurons write together, until P(object) is half of the wanted, mean over languages; then what
   the specific ones of each language add, until it is all there. No neuron does it alone.
4. **Decoys**, as many again of each kind: *firing* ones fire on the same prompts and write a random
   direction that is orthogonal to the object's tokens; *writing* ones write as the planted do and
   never fire.

`Planted.check` holds the proof that the plant is true: P without the planted neurons, without as
many decoys, and with one neuron alone. Rules of the game: activations of planted neurons have the
size of the model's own strongest ones, because a ReLU neuron's activation can be scaled at will
(its output weights scale back) and would decide alone what the method "activation" finds.

Caveats: `check` is worth a look before anything else. The model's own context has to pick the
language of what an agnostic neuron writes, so with many languages the names of an object compete.
`recovery` scores attribution methods by what they find.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.attribution import attribute
from lafn_viz.changes import measure
from lafn_viz.facts import Fact, FactSet, Prompt, load_facts
from lafn_viz.models import Provenance, _quiet, _resolve, load_model, provenance
from lafn_viz.neurons import Neuron, masks_of
from lafn_viz.target import encode, score_answers

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import GPT2LMHeadModel

Kind = Literal["agnostic", "specific", "firing", "writing"]
NEGATIVES = 2400  # prompts of other facts that a detector learns to be silent on
MARGIN = 0.1  # how far below zero it keeps them, as a share of its usual activation
RIDGE = 1e-3
ROUNDS = 4
TURNS = 8
LEARNING_RATE, STEPS = 0.05, 150  # of what neurons write
THRESHOLD = 0.4  # of its usual activation on positives: below this a neuron is silent


@dataclass(frozen=True)
class Spot:
    """One added neuron: what it is, for which fact, and in which language it fires (None: all).

    A decoy's `kind` says what it does, its `language` what it imitates.
    """

    kind: Kind
    fact_id: str
    language: str | None
    neuron: Neuron


@dataclass(frozen=True)
class Planted:
    """A model with facts whose neurons are known.

    `prompts` are those of `facts`, in all languages and paraphrases; `others` are some of other
    facts of the relation. `held_out` are the paraphrases
    that no detector was fitted to. `check` has a row for each fact and language, with mean
    probabilities over paraphrases: `p_before` (the model as it was), `p`, `p_without` (its planted
    neurons zeroed), `p_without_agnostic`, `p_without_decoys` (firing ones), `p_one` (the best of
    its planted neurons alone), and shares of (neuron, prompt) pairs of acting neurons: `fires` on
    fitted and `fires_held_out` on held-out paraphrases, `fires_elsewhere` of the language's
    specific neurons on the same fact in other languages. `drift` is the mean absolute change of
    P(correct) over prompts of other facts in these languages.
    """

    model: "TransformerBridge"
    facts: FactSet
    prompts: tuple[Prompt, ...]
    others: tuple[Prompt, ...]
    spots: tuple[Spot, ...]
    held_out: tuple[int, ...]
    check: "pd.DataFrame"
    drift: float
    provenance: Provenance

    def __repr__(self) -> str:
        count = {kind: sum(s.kind == kind for s in self.spots) for kind in get_args(Kind)}
        named = ", ".join(f"{n} {kind}" for kind, n in count.items())
        return (
            f"Planted({len(self.facts)} facts in {len(self.facts.languages)} languages: {named}; "
            f"P {self.check['p'].mean():.2f}, without them {self.check['p_without'].mean():.2f})"
        )

    @property
    def agnostic(self) -> dict[str, frozenset[Neuron]]:
        """The planted neurons of each fact that act in every language."""
        return {fact.id: self.find("agnostic", fact.id) for fact in self.facts}

    @property
    def specific(self) -> dict[tuple[str, str], frozenset[Neuron]]:
        """The planted neurons of each fact that act in exactly one language."""
        return {
            (fact.id, language): self.find("specific", fact.id, language)
            for fact in self.facts
            for language in fact.languages
        }

    @property
    def decoys(self) -> dict[str, dict[str, frozenset[Neuron]]]:
        """The decoys of each kind ("firing", "writing") and fact."""
        kinds: tuple[Kind, ...] = ("firing", "writing")
        return {kind: {fact.id: self.find(kind, fact.id) for fact in self.facts} for kind in kinds}

    def acting(self, fact_id: str, language: str) -> frozenset[Neuron]:
        """The planted neurons that write this fact in this language."""
        return self.find("agnostic", fact_id) | self.find("specific", fact_id, language)

    def find(self, kind: Kind, fact_id: str, language: str | None = None) -> frozenset[Neuron]:
        """The added neurons of one kind and fact; of one language where one is given."""
        return frozenset(
            s.neuron
            for s in self.spots
            if s.kind == kind and s.fact_id == fact_id and language in (None, s.language)
        )


def plant(
    model: str | Path = "embedded",
    *,
    facts: FactSet | None = None,
    relation: str = "capital",
    n_facts: int = 3,
    languages: Sequence[str] | None = None,
    n_agnostic: int = 10,
    n_specific: int = 2,
    layers: Sequence[int] = (1, 2, 3),
    probability: float = 0.9,
    seed: int = 0,
    folder: str | Path | None = None,
) -> Planted:
    """Plant new facts of one relation in a copy of a GPT-2 model with ReLU neurons.

    Args:
        model: name or folder; the embedded model unless told otherwise. It is not changed.
        facts: what the model knows; gives subjects, objects and negatives.
        relation: of the new facts. Their subjects must be known by at least two other relations.
        n_facts: 2 or more, so that each has another fact as its control.
        languages: all in which the subjects are named, unless told otherwise.
        n_agnostic: planted neurons of a fact that act in all languages.
        n_specific: planted neurons of a fact for each language.
        layers: where added neurons go, in turn. In layer 0 a specific detector does not carry over
            to other paraphrases.
        probability: wanted mean P(object) of each fact.
        seed: of subjects, objects, subsets and directions.
        folder: where the new model is saved; by default nowhere for long.

    Raises:
        ValueError: for an option out of its range, a model of another kind, or too few subjects.
    """
    from transformers import AutoTokenizer, GPT2LMHeadModel

    facts = load_facts() if facts is None else facts
    if n_facts < 2 or n_agnostic < 1 or n_specific < 1 or not 0 < probability < 1:
        raise ValueError(
            f"n_facts={n_facts}, n_agnostic={n_agnostic}, n_specific={n_specific}, "
            f"probability={probability}; give at least 2 facts, 1 neuron of each kind, and a "
            "probability between 0 and 1"
        )
    source = Path(_resolve(str(model))[0])
    base = load_model(model)
    if base.original_model.config.model_type != "gpt2" or base.cfg.act_fn != "relu":
        raise ValueError(
            f"{model} is a {base.original_model.config.model_type} with {base.cfg.act_fn} neurons; "
            "planting needs the GPT-2 architecture with relu, such as 'embedded'"
        )
    if not layers or not set(layers) <= set(range(base.cfg.n_layers)):
        raise ValueError(f"layers={tuple(layers)}; choose from 0 to {base.cfg.n_layers - 1}")
    rng = np.random.default_rng(seed)
    new = _new_facts(base, facts, relation, n_facts, languages, rng)
    spots, width = _spots(new, n_agnostic, n_specific, layers, int(base.cfg.d_mlp))
    with _quiet():
        old = GPT2LMHeadModel.from_pretrained(source, dtype=torch.float32).eval()
        wide = _widened(old, width)
        tokenizer = AutoTokenizer.from_pretrained(source)
    samples = _samples(base, facts, new, relation, rng)
    asked = facts.filter(relation=relation, languages=new.languages).prompts()
    others = tuple(asked[i] for i in sorted(rng.permutation(len(asked))[:600]))
    level = _usual(base, others)
    writing = _Writing(spots, samples, level, old.config.n_embd)
    inputs = [_inputs(old, samples)]
    for number in range(ROUNDS):
        # What layers read changes with what is written below: fit to both, before and after. The
        # last round fits only, so that detectors are those of what is written now.
        _fit(wide, spots, samples, inputs, level, rng)
        if number < ROUNDS - 1:
            writing.learn(wide, probability)
            writing.write(wide, rng)
            inputs = [inputs[0], _inputs(wide, samples)]
    place = tempfile.TemporaryDirectory() if folder is None else nullcontext(folder)
    with place as path, _quiet():
        wide.save_pretrained(path)
        tokenizer.save_pretrained(path)
        planted_model = load_model(path)
    planted_model.cfg.model_name = f"{model} with {n_facts} planted facts"
    prompts = tuple(new.prompts())
    check = _check(base, planted_model, prompts, spots)
    return Planted(
        model=planted_model,
        facts=new,
        prompts=prompts,
        others=others,
        spots=spots,
        held_out=HELD_OUT,
        check=check,
        drift=_drift(base, planted_model, facts.filter(languages=new.languages), rng),
        provenance=provenance(
            base, "plant", seed=seed, relation=relation, n_facts=n_facts, n_agnostic=n_agnostic,
            n_specific=n_specific, layers=tuple(layers), probability=probability,
            languages=new.languages, level=level,
        ),
    )  # fmt: skip


# No detector is fitted to these paraphrases (numbers, in every language).
HELD_OUT = (4, 5)


def _new_facts(
    base: "TransformerBridge",
    facts: FactSet,
    relation: str,
    n_facts: int,
    languages: Sequence[str] | None,
    rng: np.random.Generator,
) -> FactSet:
    """Subjects known by other relations, with objects that are one token in every language."""
    facts = facts if languages is None else facts.filter(languages=languages)
    wanted = facts.languages
    told = facts.filter(relation=relation)
    known: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.relation != relation and fact.languages == wanted:
            known.setdefault(fact.subject_id, []).append(fact)
    taken = {fact.subject_id for fact in told} | {fact.object_id for fact in told}
    free = [some[0] for name, some in known.items() if len(some) >= 2 and name not in taken]
    if len(free) < n_facts:
        raise ValueError(
            f"{len(free)} subjects are known by two other relations and not by {relation!r}, "
            f"n_facts={n_facts}; ask for fewer facts or give another relation"
        )
    subjects = [free[i] for i in rng.permutation(len(free))[:n_facts]]
    objects: list[Fact] = []
    for number in rng.permutation(len(told)):
        fact = told.facts[number]
        if fact.languages != wanted or fact.leaks:
            continue
        asked = replace(told, facts=(fact,)).prompts()
        if all(len(encode(base, prompt).answer) == 1 for prompt in asked):
            objects.append(fact)
        if len(objects) == n_facts:
            break
    if len(objects) < n_facts:
        raise ValueError(
            f"{len(objects)} objects of {relation!r} are one token in every language; "
            "ask for fewer facts or languages"
        )
    made = [
        Fact(
            id=f"{relation}/{subject.subject_id}",
            relation=relation,
            subject_id=subject.subject_id,
            object_id=of.object_id,
            source="planted",
            leaks=(),
            held_out=(),
            subject=dict(subject.subject),
            object=dict(of.object),
        )
        for subject, of in zip(subjects, objects, strict=True)
    ]
    return replace(facts, facts=tuple(made))


def _spots(
    new: FactSet, n_agnostic: int, n_specific: int, layers: Sequence[int], d_mlp: int
) -> tuple[tuple[Spot, ...], int]:
    """Places of all added neurons, layer after layer in turn, and the new width."""
    used = dict.fromkeys(layers, d_mlp)
    spots = []
    turn = 0
    for fact in new:
        wanted = [(None, n_agnostic), *((language, n_specific) for language in fact.languages)]
        for language, count in wanted:
            true: Kind = "agnostic" if language is None else "specific"
            kinds: tuple[Kind, ...] = (true, "firing", "writing")
            for _ in range(count):
                layer = layers[turn % len(layers)]
                turn += 1
                # A decoy sits beside what it imitates.
                for kind in kinds:
                    spots.append(Spot(kind, fact.id, language, Neuron(layer, used[layer])))
                    used[layer] += 1
    return tuple(spots), max(used.values())


def _widened(old: "GPT2LMHeadModel", width: int) -> "GPT2LMHeadModel":
    """The same model with more neurons in every layer, which do nothing yet."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config.from_dict({**old.config.to_dict(), "n_inner": width, "dtype": "float32"})
    wide = GPT2LMHeadModel(config).eval()
    wide.requires_grad_(False)
    weights = wide.state_dict()
    for name, value in old.state_dict().items():
        weights[name].zero_()
        weights[name][tuple(slice(size) for size in value.shape)] = value
    wide.load_state_dict(weights)
    wide.tie_weights()
    return wide


@dataclass(frozen=True)
class _Samples:
    """Beginnings of prompts, read at their last token: those of the new facts, and negatives.

    `fact` is the number of the new fact (-1: a negative), `answer` the object's token, `fitted`
    whether a detector may learn from it. `tokens` are (which, their tokens) by length.
    """

    fact: Int[np.ndarray, " prompt"]
    language: np.ndarray
    fitted: Bool[np.ndarray, " prompt"]
    answer: Int[Tensor, " prompt"]
    tokens: tuple[tuple[Int[Tensor, "_"], Int[Tensor, "_ _"]], ...]
    ids: tuple[str, ...]

    def positive(self, spot: Spot) -> Bool[np.ndarray, " prompt"]:
        """Where this neuron should fire."""
        mine = self.fact == self.ids.index(spot.fact_id)
        return mine if spot.language is None else mine & (self.language == spot.language)


def _samples(
    base: "TransformerBridge",
    facts: FactSet,
    new: FactSet,
    relation: str,
    rng: np.random.Generator,
) -> _Samples:
    named = facts.filter(languages=new.languages)
    others = named.prompts()
    few = rng.permutation(len(others))[: NEGATIVES // 2].tolist()
    others += (same := named.filter(relation=relation).prompts())
    few += [len(others) - 1 - int(i) for i in rng.permutation(len(same))[: NEGATIVES // 2]]
    subjects = {fact.subject_id for fact in new}
    about = replace(named, facts=tuple(f for f in named if f.subject_id in subjects)).prompts()
    # Of the subject's other relations, a paraphrase or two: they are many.
    about = [prompt for prompt in about if prompt.paraphrase < 3]
    prompts = [*new.prompts(), *(others[i] for i in sorted(few)), *about]
    ids = tuple(fact.id for fact in new)
    rows: list[tuple[int, str, bool, int, tuple[int, ...]]] = []
    for prompt in prompts:
        item = encode(base, prompt)
        read, stop = item.read, item.predicts + 1
        number = ids.index(prompt.fact_id) if prompt.fact_id in ids else -1
        fitted = number < 0 or prompt.paraphrase not in HELD_OUT
        rows.append((number, prompt.language, fitted, item.answer[0], read[:stop]))
        if rng.random() < 0.75:
            continue
        # Inside a prompt and inside an answer a neuron has to be silent too.
        cut = int(rng.integers(1, stop))
        rows.append((-1, prompt.language, fitted, 0, read[:cut]))
        rows += [(-1, prompt.language, fitted, 0, read[:n]) for n in range(stop + 1, len(read) + 1)]
    fact, language, fits, answer, texts = zip(*rows, strict=True)
    lengths = np.array([len(text) for text in texts])
    groups = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
    return _Samples(
        fact=np.array(fact),
        language=np.array(language),
        fitted=np.array(fits),
        answer=torch.tensor(answer),
        tokens=tuple(
            (torch.from_numpy(some), torch.tensor([texts[i] for i in some])) for some in groups
        ),
        ids=ids,
    )


def _inputs(
    model: "GPT2LMHeadModel", samples: _Samples
) -> dict[int, Float[Tensor, "prompt d_model"]]:
    """What each layer's feed-forward network reads at the answer position."""
    layers = model.transformer.h
    read = {i: torch.empty(len(samples.fact), model.config.n_embd) for i in range(len(layers))}
    seen: dict[int, Tensor] = {}

    def keeper(layer: int) -> Any:
        def keep(module: Any, args: tuple[Tensor, ...]) -> None:
            seen[layer] = args[0][:, -1]

        return keep

    hooks = [block.mlp.register_forward_pre_hook(keeper(i)) for i, block in enumerate(layers)]
    try:
        with torch.no_grad():
            for index, tokens in samples.tokens:
                model.transformer(tokens)
                for layer, value in seen.items():
                    read[layer][index] = value
    finally:
        for hook in hooks:
            hook.remove()
    return read


def _usual(base: "TransformerBridge", prompts: Sequence[Prompt]) -> float:
    """The 20th largest activation of a prompt at its answer, mean over prompts."""
    found = attribute(base, prompts, method="activation", position="answer")
    return float(found.values.flatten(1).topk(20).values[:, -1].mean())


def _fit(
    model: "GPT2LMHeadModel",
    spots: Sequence[Spot],
    samples: _Samples,
    inputs: Sequence[Mapping[int, Tensor]],
    level: float,
    rng: np.random.Generator,
) -> None:
    """Write the input weights of all added neurons into the model."""
    layers = {s.neuron.layer for s in spots}
    values = {layer: torch.cat([one[layer] for one in inputs]).double() for layer in layers}
    weight, bias = torch.empty(0), 0.0
    with torch.no_grad():
        for spot in spots:
            layer, number = spot.neuron
            x = values[layer]
            positive = np.tile(samples.positive(spot), len(inputs))
            fitted = np.tile(samples.fitted, len(inputs))
            if spot.kind == "writing":  # a random look, and a bias that keeps it silent
                weight = torch.from_numpy(rng.normal(size=x.shape[1]))
                weight = weight * level / (x @ weight).std()
                bias = -float((x @ weight).max()) - 10 * level
            elif spot.kind != "firing":  # a firing decoy has the look of the neuron before it
                # A random three quarters for each neuron, so that no two are the same.
                chosen = [rng.permutation(np.flatnonzero(fitted & (positive == x))) for x in (0, 1)]
                some = torch.from_numpy(
                    np.concatenate([one[: math.ceil(0.75 * len(one))] for one in chosen])
                )
                here = torch.from_numpy(positive)
                weight, bias = _detector(x[some], here[some])
                value = x @ weight + bias
                usual = value[torch.from_numpy(fitted) & here].mean()
                loudest = value[torch.from_numpy(fitted) & ~here].max()
                silent = float(loudest.clamp(THRESHOLD * usual, 1.5 * THRESHOLD * usual))
                scale = level / (float(usual) - silent)
                weight, bias = weight * scale, (bias - silent) * scale
            inward = model.transformer.h[layer].mlp.c_fc
            inward.weight[:, number] = weight.float()
            inward.bias[number] = bias


def _detector(
    x: Float[Tensor, "prompt d_model"], positive: Bool[Tensor, " prompt"]
) -> tuple[Float[Tensor, " d_model"], float]:
    """Ridge regression to 1 on positives and at most -MARGIN elsewhere."""
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    goal = torch.where(positive, 1.0, -MARGIN).to(x.dtype)
    ridge = RIDGE * int(positive.sum()) * torch.eye(x.shape[1], dtype=x.dtype)
    ridge[-1, -1] *= 1e-3
    counts = torch.ones_like(positive)
    for turn in range(TURNS):
        rows = x[counts]
        weight = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ goal[counts])
        firing = positive | (x @ weight > -MARGIN)
        if torch.equal(firing, counts):
            break
        # Whoever fired once stays, after a few turns: so this ends.
        counts = firing if turn < 3 else firing | counts
    return weight[:-1], float(weight[-1])


class _Writing:
    """What the added neurons write: a direction for each fact, and for each fact and language.

    The neurons of one (fact, language or None) share it in equal parts. Zero at first; learned by
    gradient, the agnostic ones alone until P(object) is half of what is wanted, then the specific
    ones until it is all there.
    """

    def __init__(self, spots: Sequence[Spot], samples: _Samples, level: float, d_model: int):
        self.spots, self.samples = spots, samples
        true = [s for s in spots if s.kind in get_args(Kind)[:2]]
        groups = list(dict.fromkeys((s.fact_id, s.language) for s in true))
        self.group = {key: number for number, key in enumerate(groups)}
        count = [sum((s.fact_id, s.language) == key for s in true) for key in groups]
        self.part = 1 / (level * torch.tensor(count, dtype=torch.float32)[:, None])
        self.direction = torch.zeros(len(groups), d_model)

    def rows(self, kinds: Sequence[Kind]) -> dict[int, tuple[list[int], list[int]]]:
        """For each layer: its neurons of some kinds, and their groups."""
        found: dict[int, tuple[list[int], list[int]]] = {}
        for spot in self.spots:
            if spot.kind in kinds:
                numbers, groups = found.setdefault(spot.neuron.layer, ([], []))
                numbers.append(spot.neuron.neuron)
                groups.append(self.group[spot.fact_id, spot.language])
        return found

    def learn(self, model: "GPT2LMHeadModel", probability: float) -> None:
        """Change the directions until the model gives the objects the wanted probability."""
        from torch.func import functional_call

        rows = self.rows(("agnostic", "specific"))
        samples = self.samples
        wanted = torch.from_numpy((samples.fact >= 0) & samples.fitted)
        fact = torch.from_numpy(samples.fact)
        batches = [(i[wanted[i]], tokens[wanted[i]]) for i, tokens in samples.tokens]
        batches = [(i, tokens) for i, tokens in batches if len(i)]
        agnostic = torch.tensor([language is None for _, language in self.group])[:, None]
        for learns, goal in ((agnostic, probability / 2), (~agnostic, probability)):
            direction = self.direction.clone().requires_grad_()
            optimiser = torch.optim.Adam([direction], lr=LEARNING_RATE)
            for _ in range(STEPS):
                optimiser.zero_grad()
                written = direction * self.part
                weights = {}
                for layer, (numbers, groups) in rows.items():
                    name = f"transformer.h.{layer}.mlp.c_proj.weight"
                    old = model.get_parameter(name)
                    weights[name] = old.index_copy(0, torch.tensor(numbers), written[groups])
                log_p = torch.empty(len(fact))
                for index, tokens in batches:
                    options = {"logits_to_keep": 1}
                    logits = functional_call(model, weights, (tokens,), options).logits[:, -1]
                    chosen = logits.log_softmax(-1).gather(1, samples.answer[index, None])[:, 0]
                    log_p[index] = chosen
                p = log_p.detach().exp()
                reached = [float(p[wanted & (fact == n)].mean()) for n in range(len(samples.ids))]
                open_facts = torch.tensor([some < goal for some in reached])
                if not open_facts.any():
                    break
                rows_left = wanted & (fact >= 0) & open_facts[fact.clamp_min(0)]
                (-log_p[rows_left].mean()).backward()
                assert direction.grad is not None
                mine = torch.tensor(
                    [bool(open_facts[samples.ids.index(fact_id)]) for fact_id, _ in self.group]
                )[:, None]
                keep = direction.detach().clone()
                direction.grad *= learns & mine
                optimiser.step()
                with torch.no_grad():  # momentum must not move what is done
                    direction.copy_(torch.where(learns & mine, direction, keep))
            self.direction = direction.detach()

    def write(self, model: "GPT2LMHeadModel", rng: np.random.Generator) -> None:
        """Into the output weights of all added neurons; decoys write theirs."""
        written = self.direction * self.part
        # The un-embedding as the last layer norm sees it.
        head = model.lm_head.weight.detach() * model.transformer.ln_f.weight
        with torch.no_grad():
            for layer, (numbers, groups) in self.rows(get_args(Kind)).items():
                matrix = model.transformer.h[layer].mlp.c_proj.weight
                matrix[numbers] = written[groups]
            for spot in self.spots:
                if spot.kind != "firing":
                    continue
                here = self.samples.fact == self.samples.ids.index(spot.fact_id)
                objects = head[self.samples.answer[torch.from_numpy(here)].unique()].double()
                random = torch.from_numpy(rng.normal(size=head.shape[1]))
                random -= objects.T @ torch.linalg.lstsq(objects.T, random[:, None]).solution[:, 0]
                size = written[self.group[spot.fact_id, spot.language]].norm()
                matrix = model.transformer.h[spot.neuron.layer].mlp.c_proj.weight
                matrix[spot.neuron.neuron] = (random * size / random.norm()).float()


def _check(
    base: "TransformerBridge",
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    spots: Sequence[Spot],
) -> "pd.DataFrame":
    """The rows of `Planted.check`."""
    import pandas as pd

    width = int(model.cfg.n_layers), int(model.original_model.config.n_inner)
    before = score_answers(base, prompts).probability.numpy()
    active = attribute(model, prompts, method="activation", position="answer").values > 0
    keys = np.array([(p.fact_id, p.language) for p in prompts])
    held_out = np.array([p.paraphrase in HELD_OUT for p in prompts])
    rows = []
    for fact_id in dict.fromkeys(p.fact_id for p in prompts):
        mine = np.flatnonzero(keys[:, 0] == fact_id)
        asked = [prompts[i] for i in mine.tolist()]
        own = [s for s in spots if s.fact_id == fact_id]
        planted = [s for s in own if s.kind in ("agnostic", "specific")]
        sets = [
            [s.neuron for s in planted],
            [s.neuron for s in planted if s.kind == "agnostic"],
            [s.neuron for s in own if s.kind == "firing"],
            *([s.neuron for s in planted if s is not one] for one in planted),
        ]
        found = measure(model, asked, masks_of(sets, width))
        usual, changed = (log_prob.exp().numpy() for log_prob in found)
        for language in dict.fromkeys(p.language for p in asked):
            here = keys[mine, 1] == language
            at, elsewhere = mine[here], mine[~here]
            single = [s for s in planted if s.language == language]
            acting = [s for s in planted if s.language in (None, language)]
            p_without, p_agnostic, p_decoys = changed[:3, here].mean(1)
            rows.append(
                {
                    "fact_id": fact_id,
                    "language": language,
                    "p_before": before[at].mean(),
                    "p": usual[here].mean(),
                    "p_without": p_without,
                    "p_without_agnostic": p_agnostic,
                    "p_without_decoys": p_decoys,
                    "p_one": changed[3:, here].mean(1).max(),
                    "fires": _share(active, at[~held_out[at]], acting),
                    "fires_held_out": _share(active, at[held_out[at]], acting),
                    "fires_elsewhere": _share(active, elsewhere, single),
                }
            )
    return pd.DataFrame(rows)


def _share(
    active: Bool[Tensor, "prompt layer neuron"], rows: np.ndarray, spots: Sequence[Spot]
) -> float:
    """Share of (prompt, neuron) pairs that fire."""
    layer, number = torch.tensor([s.neuron for s in spots]).T
    return float(active[rows][:, layer, number].float().mean())


def _drift(
    base: "TransformerBridge",
    model: "TransformerBridge",
    facts: FactSet,
    rng: np.random.Generator,
) -> float:
    """Mean absolute change of P over some prompts of the old facts."""
    prompts = facts.prompts()
    some = [prompts[i] for i in sorted(rng.permutation(len(prompts))[:400])]
    before, after = (score_answers(one, some).probability for one in (base, model))
    return float((after - before).abs().mean())
