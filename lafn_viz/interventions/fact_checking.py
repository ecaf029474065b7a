"""Do the degenerate neurons of a relation tell true answers from false ones?

Fact-checking of Chen et al. 2024, "Journey to the Center of the Knowledge Neurons" (section 5):

1. Split the facts of a relation. In the training part find each fact's degenerate neurons, and keep
   those frequent in it.
2. A candidate answer's score is its mean attribution over these neurons; it passes above a
   threshold that is fitted on the training part alone.
3. Judge true and false answers of the other facts: ROC, AUC, accuracy.

Three controls go through the same: the candidate's own probability, which costs one pass and no
neurons; as many neurons that are often among the best by attribution but are not kept, so that one
sees what degeneracy adds to that; and as many random neurons of the same layers.

Caveat: a false answer drawn at random is mostly one that the model gives next to no probability.
`false_answers="plausible"` asks for the likeliest wrong one. It is chosen by what the control
P(candidate) judges by, so that this control is at its worst there, and the neurons are not.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float

from lafn_viz.attribution.attribute import Method, attribute
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap, quantile_interval
from lafn_viz.datasets.facts import FactSet, Prompt, prompt_columns
from lafn_viz.interventions.degenerate import Degenerate, Of, find_degenerate
from lafn_viz.models.capabilities import provenance
from lafn_viz.models.scoring import score_answers
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron, mask_of

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

DKN, TOP = "degenerate neurons", "top neurons"
P, RANDOM = "P(candidate)", "random neurons"
FalseAnswers = Literal["random", "plausible"]


@dataclass(frozen=True)
class FactCheck:
    """Candidate answers of one relation, judged.

    `prompts` ask for a candidate each, `truth` says whether it is the right one. `judges` name the
    rows of `scores` (mean attribution over neurons, or probability): degenerate neurons, top
    neurons, P(candidate), and one row for each draw of random neurons. A candidate passes above the
    judge's threshold, fitted on the facts in `train`. `found` are the degenerate neurons of those,
    `neurons` the frequent ones, `top` as many others that are most often among the best by
    attribution. Without any frequent ones, `reason` says why, their scores are NaN, and top and
    random neurons are not asked.
    """

    relation: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    neurons: tuple[Neuron, ...]
    top: tuple[Neuron, ...]
    found: tuple[Degenerate, ...]
    prompts: tuple[Prompt, ...]
    truth: Bool[np.ndarray, " item"]
    judges: tuple[str, ...]
    scores: Float[np.ndarray, "judge item"]
    thresholds: Float[np.ndarray, " judge"]
    reason: str | None
    provenance: Provenance

    def __repr__(self) -> str:
        auc = self.summary(draws=2)["auc"]
        beside = ", ".join(f"{judge} {value:.3f}" for judge, value in auc.items())
        return f"FactCheck({self.relation!r}, {len(self.test)} test facts, AUC: {beside})"

    def rows(self, judge: str) -> tuple[Float[np.ndarray, "draw item"], Bool[np.ndarray, " item"]]:
        """Scores of one judge for the candidates of the test facts, and their truth."""
        rows = [number for number, name in enumerate(self.judges) if name == judge]
        of_test = np.array([prompt.fact_id in self.test for prompt in self.prompts], dtype=bool)
        return self.scores[rows][:, of_test], self.truth[of_test]

    def _auc(self, judge: str, draws: int, seed: int) -> Float[np.ndarray, " draw"]:
        """Mean AUC over the judge's rows: of the test facts, then of bootstrap draws of them."""
        scores, truth = self.rows(judge)
        owner = [self.test.index(p.fact_id) for p in self.prompts if p.fact_id in self.test]
        belongs = np.eye(len(self.test))[owner]
        times = np.random.default_rng(seed).multinomial(
            len(self.test), np.full(len(self.test), 1 / len(self.test)), draws
        )
        weight = np.vstack([np.ones(len(self.test)), times])
        pairs = np.outer(belongs[truth].sum(0), belongs[~truth].sum(0))
        won = np.full_like(pairs, np.nan)
        if len(scores) and np.isfinite(scores).all():
            difference = scores[:, truth, None] - scores[:, None, ~truth]
            wins = ((np.sign(difference) + 1) / 2).mean(0)  # a tie counts half
            won = belongs[truth].T @ wins @ belongs[~truth]
        return ((weight @ won) * weight).sum(1) / ((weight @ pairs) * weight).sum(1)

    def compare(
        self, judge: str = DKN, other: str = RANDOM, *, draws: int = 2000, seed: int = 0
    ) -> tuple[float, float, float]:
        """AUC of one judge minus another's, with its 95% bootstrap interval over test facts."""
        difference = self._auc(judge, draws, seed) - self._auc(other, draws, seed)
        return float(difference[0]), *_interval(difference[1:], len(self.test))

    def summary(self, *, draws: int = 2000, seed: int = 0) -> "pd.DataFrame":
        """One row a judge: AUC and accuracy on the test facts, 95% bootstrap intervals over them.

        `accuracy_true` and `accuracy_false` are the shares of true and of false candidates that the
        threshold judges rightly, means over facts.
        """
        import pandas as pd

        table: dict[str, dict[str, float]] = {}
        for judge in dict.fromkeys(self.judges):
            scores, truth = self.rows(judge)
            auc = self._auc(judge, draws, seed)
            row = {"auc": auc[0]}
            row |= dict(zip(("low", "high"), _interval(auc[1:], len(self.test)), strict=True))
            limit = self.thresholds[[name == judge for name in self.judges]]
            right = ((scores > limit[:, None]) == truth).mean(0)
            right = np.where(np.isfinite(scores).all(0), right, np.nan)
            owner = np.array([p.fact_id for p in self.prompts if p.fact_id in self.test])
            for name, side in (("true", truth), ("false", ~truth)):
                each = np.array([right[side & (owner == fact)].mean() for fact in self.test])
                low, high = bootstrap(each, draws=draws, seed=seed)
                row |= {f"accuracy_{name}": each.mean(), f"{name}_low": low, f"{name}_high": high}
            table[judge] = row
        return pd.DataFrame.from_dict(table, orient="index").rename_axis("judge")

    def to_frame(self) -> "pd.DataFrame":
        """One row a candidate: prompt, truth, part, and each judge's score (random: the mean)."""
        import pandas as pd

        columns = prompt_columns(self.prompts)
        names = np.array(self.judges)
        return pd.DataFrame(
            {
                **columns,
                "true": self.truth,
                "part": ["test" if fact in self.test else "train" for fact in columns["fact_id"]],
                **{
                    judge: self.scores[names == judge].mean(0)
                    for judge in dict.fromkeys(self.judges)
                },
            }
        ).rename(columns={"answer": "candidate"})


def roc(
    scores: Float[np.ndarray, " item"], truth: Bool[np.ndarray, " item"]
) -> Float[np.ndarray, "2 point"]:
    """Shares of false and of true candidates above each threshold, from (0, 0) to (1, 1)."""
    above = scores >= np.concatenate([[np.inf], np.unique(scores)[::-1]])[:, None]
    return np.stack([above[:, ~truth].mean(1), above[:, truth].mean(1)])


def fit_threshold(scores: Float[np.ndarray, " item"], truth: Bool[np.ndarray, " item"]) -> float:
    """The threshold with the best balanced accuracy, half-way between two scores."""
    if not np.isfinite(scores).all():
        return float("nan")
    values = np.unique(scores)
    limits = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2])
    above = scores > limits[:, None]
    balanced = above[:, truth].mean(1) + (~above[:, ~truth]).mean(1)
    return float(limits[balanced.argmax()])


def check_facts(
    model: "TransformerBridge",
    facts: FactSet,
    relation: str,
    *,
    languages: str | Iterable[str] | None = None,
    paraphrases: Sequence[int] | None = None,
    max_facts: int | None = None,
    false_answers: FalseAnswers = "random",
    train_share: float = 0.8,
    share: float = 0.7,
    top: int = 20,
    t_low: float = 0.2,
    t_high: float = 0.25,
    max_size: int = 2,
    of: Of = "probability",
    method: Method = "integrated_gradients",
    position: Position = "all",
    controls: int = 10,
    seed: int = 0,
    progress: bool = False,
) -> FactCheck:
    """Judge true and false answers of a relation by the degenerate neurons of other facts.

    Every prompt gets its true answer and one false one: another object of the relation in the same
    language. Cost: two attributions a prompt, and a search for each training fact and language.

    Args:
        facts: with at least two facts of the relation and two different objects.
        paraphrases: which ones to ask, by number; all unless given.
        max_facts: only as many, drawn with the seed. False answers may come from all.
        false_answers: "random", or "plausible": of all wrong objects in that language the one that
            the model gives the highest log-probability, mean over the asked paraphrases.
        train_share: of the facts that find the neurons and fit the thresholds.
        share: a neuron is frequent when it is degenerate for more training facts and languages than
            this share of the most frequent neuron's count (the paper: 0.7).
        top, t_low, t_high, max_size, of: as in `find_degenerate`.
        method, position: as in `attribute`.
        controls: draws of random neurons of the same layers.
        seed: of the split, the false answers and the random neurons.

    Raises:
        ValueError: for an option out of its range or too few facts, prompts or objects.
    """
    if false_answers not in get_args(FalseAnswers):
        raise ValueError(
            f"unknown false_answers={false_answers!r}; "
            f"there are {', '.join(get_args(FalseAnswers))}"
        )
    pool = facts.filter(relation=relation, languages=languages)
    some = (
        pool if max_facts is None or max_facts >= len(pool) else pool.sample(max_facts, seed=seed)
    )
    asked = [p for p in some.prompts() if paraphrases is None or p.paraphrase in paraphrases]
    true, false = _candidates(model, pool, asked, false_answers, seed)
    ids = list(dict.fromkeys(prompt.fact_id for prompt in true))
    n_train = round(train_share * len(ids))
    if not 0 < n_train < len(ids):
        raise ValueError(
            f"train_share={train_share} of {len(ids)} facts with a false candidate leaves "
            f"{n_train} to train and {len(ids) - n_train} to test; both need some"
        )
    random.Random(seed).shuffle(ids)
    train, test = tuple(ids[:n_train]), tuple(ids[n_train:])
    options: dict[str, Any] = {"method": method, "position": position, "progress": progress}
    judged = [attribute(model, candidates, **options) for candidates in (true, false)]
    settings: dict[str, Any] = {
        "top": top, "t_low": t_low, "t_high": t_high, "max_size": max_size, "of": of,
        "position": position,
    }  # fmt: skip
    of_train = judged[0].select(lambda prompt: prompt.fact_id in train)
    found = find_degenerate(model, of_train, controls=0, progress=progress, **settings)
    count = Counter(neuron for one in found for neuron in one.neurons)
    limit = share * max(count.values(), default=0)
    neurons = tuple(sorted(neuron for neuron, times in count.items() if times > limit))
    often = _by_frequency(found, without=neurons)[: len(neurons)]
    values = torch.cat([scores.values for scores in judged])
    shape = (values.shape[1], values.shape[2])

    def mean_over(chosen: Iterable[Neuron]) -> Float[np.ndarray, " item"]:
        mask = mask_of(chosen, shape)
        return values[:, mask].double().mean(1).numpy()  # of no neuron: not a number

    probability = torch.cat([s.target_prob for s in judged]).double().numpy()
    rows = [(DKN, mean_over(neurons)), (P, probability)]
    if often:
        rows.insert(1, (TOP, mean_over(often)))
    for draw in range(controls if neurons else 0):
        rows.append((RANDOM, mean_over(random_like(neurons, shape, seed=seed + draw))))
    truth = np.repeat([True, False], [len(true), len(false)])
    fit_on = np.array([prompt.fact_id in train for prompt in (*true, *false)], dtype=bool)
    reason = None
    if not neurons:
        causes = Counter((one.reason or "").split(" (")[0] for one in found)
        reason = (
            f"no degenerate neuron in {len(found)} training facts and languages, mostly because "
            f"{causes.most_common(1)[0][0]}"
        )
    return FactCheck(
        relation=relation,
        train=train,
        test=test,
        neurons=neurons,
        top=often,
        found=tuple(found),
        prompts=(*true, *false),
        truth=truth,
        judges=tuple(judge for judge, _ in rows),
        scores=np.stack([row for _, row in rows]),
        thresholds=np.array([fit_threshold(row[fit_on], truth[fit_on]) for _, row in rows]),
        reason=reason,
        provenance=provenance(
            model,
            "check_facts",
            seed=seed,
            attribution=method,
            share=share,
            train_share=train_share,
            false_answers=false_answers,
            **settings,
        ),
    )


def _by_frequency(found: Iterable[Degenerate], without: Iterable[Neuron]) -> tuple[Neuron, ...]:
    """The other candidates, from the most frequent to the least; ties by their attribution."""
    count: Counter[Neuron] = Counter()
    total: dict[Neuron, float] = defaultdict(float)
    for one in found:
        count.update(one.candidates)
        for neuron, score in zip(one.candidates, one.attribution.tolist(), strict=True):
            total[neuron] += score
    left = count.keys() - set(without)
    return tuple(sorted(left, key=lambda neuron: (-count[neuron], -total[neuron], neuron)))


def _candidates(
    model: "TransformerBridge",
    pool: FactSet,
    asked: Sequence[Prompt],
    false_answers: FalseAnswers,
    seed: int,
) -> tuple[list[Prompt], list[Prompt]]:
    """The prompts as they are, and each with a false answer; without those that have none."""
    objects: dict[str, set[str]] = defaultdict(set)
    right: dict[tuple[str, str], set[str]] = defaultdict(set)
    for fact in pool:
        for language, name in fact.object.items():
            objects[language].add(name)
            right[fact.subject_id, language].add(name)
    together: dict[tuple[str, str], list[Prompt]] = defaultdict(list)
    for prompt in asked:
        together[prompt.fact_id, prompt.language].append(prompt)
    # The same for all paraphrases, and whatever else is asked.
    answers: dict[tuple[str, str], str] = {}
    for (fact_id, language), prompts in together.items():
        wrong = sorted(objects[language] - right[pool[fact_id].subject_id, language])
        if wrong and false_answers == "random":
            draw = random.Random(f"{seed} {fact_id} {language}")
            answers[fact_id, language] = draw.choice(wrong)
        elif wrong:
            answers[fact_id, language] = _likeliest(model, prompts, wrong)
    true = [prompt for prompt in asked if (prompt.fact_id, prompt.language) in answers]
    if not true:
        raise ValueError(
            f"{len(asked)} prompts and no false answer for any; give paraphrases that exist and "
            "facts with at least two different objects in a language"
        )
    return true, [replace(p, answer=answers[p.fact_id, p.language]) for p in true]


def _likeliest(
    model: "TransformerBridge", prompts: Sequence[Prompt], answers: Sequence[str]
) -> str:
    """The answer of the highest log-probability, mean over prompts of one fact and language."""
    candidates = [replace(prompt, answer=answer) for answer in answers for prompt in prompts]
    log_prob = score_answers(model, candidates).log_prob.view(len(answers), len(prompts))
    return answers[int(log_prob.double().mean(1).argmax())]


def _interval(draws: Float[np.ndarray, " draw"], facts: int) -> tuple[float, float]:
    """95% interval over bootstrap draws of the test facts; NaN for a single fact."""
    if facts < 2:
        return float("nan"), float("nan")
    low, high = quantile_interval(draws)
    return float(low), float(high)
