"""What a model knows: the share of facts that it answers, by relation, language and examples.

Whatever is said about the neurons of a fact in a language can be said only where the model knows
the fact in it. A base model often knows more than it tells when it is merely asked: after a few
examples it also knows what form the answer has (see `lafn_viz.datasets.shots`). The table says
both.

A prompt is *known* where greedy decoding writes its whole answer. The share is the mean over facts
of the share of their prompts that are known, with its 95% interval over facts
(`core.stats.share_interval`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lafn_viz.core.arguments import a_seed, or_none, real, some_wholes, takes, whole, wrong
from lafn_viz.core.options import require_one_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import share_interval
from lafn_viz.datasets.arguments import Facts, as_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.languages import script_of
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import provenance
from lafn_viz.models.scoring import AnswerScores, score_answers

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

GROUPS = ("relation", "language", "paraphrase")  # what a share may be of


@dataclass(frozen=True)
class KnownShare:
    """How many facts a model knows, without examples and after some.

    `answers` has the scores of all prompts for each number of examples (shots).
    """

    answers: Mapping[int, AnswerScores]
    provenance: Provenance

    def __repr__(self) -> str:
        shares = ", ".join(
            f"{scores.known.float().mean().item():.1%} with {shots} examples"
            for shots, scores in self.answers.items()
        )
        n_prompts = len(next(iter(self.answers.values())).prompts)
        return f"KnownShare({n_prompts} prompts, known: {shares}, {self.provenance.model})"

    @property
    def shots(self) -> tuple[int, ...]:
        """The numbers of examples, in the order asked for."""
        return tuple(self.answers)

    def to_frame(self, *, by: str | Iterable[str] = ("relation", "language")) -> "pd.DataFrame":
        """One row for each number of examples and each group: share known, interval, counts.

        Args:
            by: what groups the prompts: some of "relation", "language", "paraphrase".

        Returns:
            Columns `shots`, those of `by`, `share`, `low` and `high` (95% over facts; NaN for a
            single fact that is known in part), `n_facts` and `n_prompts`.
        """
        import pandas as pd

        keys = list(require_one_of("by", by, GROUPS))
        rows: list[dict[str, Any]] = []
        for shots, scores in self.answers.items():
            known = scores.known.double().numpy()
            groups: dict[tuple[Any, ...], dict[str, list[float]]] = {}
            for prompt, value in zip(scores.prompts, known, strict=True):
                of_group = groups.setdefault(tuple(getattr(prompt, key) for key in keys), {})
                of_group.setdefault(prompt.fact_id, []).append(value)
            for group, by_fact in groups.items():
                shares = np.array([np.mean(values) for values in by_fact.values()])
                low, high = share_interval(shares)
                rows.append(
                    {
                        "shots": shots, **dict(zip(keys, group, strict=True)),
                        "share": shares.mean(), "low": low, "high": high,
                        "n_facts": len(shares), "n_prompts": sum(map(len, by_fact.values())),
                    }
                )  # fmt: skip
        return pd.DataFrame(rows)

    @takes(
        shots=whole(0), languages=whole(1), scripts=whole(1), share=real(least=0, below=1),
        paraphrases=or_none(some_wholes(0)),
    )  # fmt: skip
    def facts(
        self,
        *,
        shots: int = 0,
        languages: int = 4,
        scripts: int = 2,
        share: float = 0.5,
        paraphrases: int | Sequence[int] | None = None,
    ) -> tuple[str, ...]:
        """Return the ids of the facts that are known in several languages.

        Args:
            shots: after how many examples.
            languages: in at least so many languages.
            scripts: written in at least so many scripts.
            share: a fact is known in a language where more than this share of its prompts is, as in
                `select_neurons`.
            paraphrases: count only prompts of these wordings; by default all that were asked.

        Raises:
            ValueError: for a number of examples that was not asked for.
        """
        if shots not in self.answers:
            raise wrong(
                "shots", shots, f"one that was asked for: {', '.join(map(str, self.shots))}"
            )
        scores = self.answers[shots]
        wordings = _wordings(paraphrases)
        known: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
        for prompt, value in zip(scores.prompts, scores.known.tolist(), strict=True):
            if wordings is None or prompt.paraphrase in wordings:
                known[prompt.fact_id][prompt.language].append(value)
        found = []
        for fact, by_language in known.items():
            told = [code for code, values in by_language.items() if np.mean(values) > share]
            if len(told) >= languages and len(set(map(script_of, told))) >= scripts:
                found.append(fact)
        return tuple(found)


@reads_model
@takes(shots=some_wholes(0), paraphrases=or_none(some_wholes(0)), seed=a_seed, max_prompts=whole(1))
def known_share(
    model: "TransformerBridge",
    facts: Facts,
    *,
    shots: int | Sequence[int] = (0, 3),
    paraphrases: int | Sequence[int] | None = None,
    examples: FactSet | None = None,
    seed: int = 0,
    max_prompts: int = 256,
) -> KnownShare:
    """Ask for facts without examples and after some, and count what the model knows.

    Args:
        shots: numbers of examples before each question.
        paraphrases: numbers of the wordings; by default all.
        examples: facts that the examples are chosen from; by default those that are asked for.
        seed: of the choice of the examples.
        max_prompts: in one batch; bounds the memory.

    Raises:
        FactError: where there are too few facts for the examples.
        ValueError: if no prompt has one of the wordings.
    """
    asked, numbers = as_facts(facts), some_wholes(0)("shots", shots)
    if not numbers:
        raise wrong("shots", shots, "at least one number of examples, as in (0, 3)")
    wordings = _wordings(paraphrases)
    answers = {}
    for number in dict.fromkeys(numbers):
        prompts = asked.prompts(shots=number, seed=seed, examples=examples)
        prompts = [p for p in prompts if wordings is None or p.paraphrase in wordings]
        if not prompts:
            raise wrong("paraphrases", paraphrases, "numbers of wordings that these facts have")
        answers[number] = score_answers(model, prompts, max_prompts=max_prompts)
    options = {"shots": tuple(answers), "paraphrases": paraphrases}
    return KnownShare(answers, provenance(model, "known_share", seed=seed, **options))


def _wordings(given: int | Sequence[int] | None) -> set[int] | None:
    """The numbers of some wordings; None for all."""
    return None if given is None else set(some_wholes(0)("paraphrases", given))
