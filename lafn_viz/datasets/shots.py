"""Examples before a question, as a model that was trained on plain text alone wants them.

A base model continues a text, and is not told that it should answer with a name. A few other facts,
asked in the same words and answered, show it the form of the answer ("few-shot", Brown et al. 2020,
"Language Models are Few-Shot Learners"):

    Country: Japan. Capital: Tokyo
    Country: Peru. Capital: Lima
    Country: France. Capital:

The examples of a question are facts of its relation, in its language and its wording. None has the
question's subject or answer under any name, and none names its answer in its own question. Their
order depends on the seed and on their ids alone, so most questions of a relation have the same
examples, in every language and wording, and a model reads them once for all.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from lafn_viz.core.json_records import FactError
from lafn_viz.core.messages import quoted
from lafn_viz.datasets.fact import Fact


class Shots:
    """Chooses `n` examples for each fact out of some facts.

    Args:
        write: writes a fact with its answer as a line, in a language and a wording.
        seed: of the order in which facts serve as examples.
    """

    def __init__(
        self,
        facts: Iterable[Fact],
        n: int,
        *,
        write: Callable[[Fact, str, int], str],
        seed: int = 0,
    ) -> None:
        self.n, self._write = n, write
        self._lines: dict[tuple[str, str, int], str] = {}
        self._by_relation: dict[str, list[Fact]] = defaultdict(list)
        for fact in facts:
            self._by_relation[fact.relation].append(fact)
        for others in self._by_relation.values():
            others.sort(key=lambda fact: sha256(f"{seed} {fact.id}".encode()).digest())

    def before(self, asked: Fact, language: str, wording: int) -> tuple[str, ...]:
        """The lines to read before a fact in a language and a wording.

        Raises:
            FactError: as `of`.
        """
        lines = []
        for fact in self.of(asked, language) if self.n else ():
            key = fact.id, language, wording
            if key not in self._lines:
                self._lines[key] = self._write(fact, language, wording)
            lines.append(self._lines[key])
        return tuple(lines)

    def of(self, asked: Fact, language: str) -> Sequence[Fact]:
        """The examples for a fact in a language: with different answers, as far as there are any.

        Raises:
            FactError: where there are fewer than `n` others.
        """
        chosen: list[Fact] = []
        same_answer: list[Fact] = []
        answers: set[str] = set()
        for fact in self._by_relation[asked.relation]:
            if len(chosen) == self.n:
                return chosen
            if _may_stand_before(fact, asked, language):
                (same_answer if fact.object[language] in answers else chosen).append(fact)
                answers.add(fact.object[language])
        others = chosen + same_answer
        if len(others) < self.n:
            raise FactError(
                f"fact {quoted(asked.id)} has {len(others)} other facts of relation "
                f"{quoted(asked.relation)} in language {quoted(language)} to stand before it, but "
                f"shots is {self.n}; give fewer shots, or examples=load_facts() to choose from"
            )
        return others[: self.n]


def _may_stand_before(fact: Fact, asked: Fact, language: str) -> bool:
    """Whether a fact says nothing about the one that is asked."""
    if language not in fact.subject or language not in fact.object or language in fact.leaks:
        return False
    ids = {fact.id, fact.subject_id, fact.object_id}
    names = {fact.subject[language].casefold(), fact.object[language].casefold()}
    return not (
        ids & {asked.id, asked.subject_id, asked.object_id}
        or names & {asked.subject[language].casefold(), asked.object[language].casefold()}
    )
