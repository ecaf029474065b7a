"""What a sweep will cost, measured on two prompts before it starts."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lafn_viz.attribution.attribute import attribute
from lafn_viz.attribution.methods import METHODS
from lafn_viz.core.messages import counted
from lafn_viz.datasets.fact import Fact
from lafn_viz.experiments.job import Job

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

TRIED = 2  # prompts


def cost_text(model: "TransformerBridge", job: Job, todo: Sequence[int]) -> str | None:
    """Say how many prompts are still to be attributed, how long one takes, and all of them.

    Returns None where no fact is left that can be asked, or attributed.
    """
    numbers = [number for number in todo if number < len(job.facts)]
    # To read them all would take as long as many facts do.
    trial = next((n for n in numbers if _can_be_attributed(job, model, n)), None)
    if trial is None:
        return None
    n_prompts = sum(_count_prompts(job, job.facts.facts[number]) for number in numbers)
    try:
        seconds = _seconds_a_prompt(model, job, trial)
    except Exception:  # the sweep will meet it, too, and record it
        return None
    bound = "at most " if job.plan.known_only else ""
    return (
        f"{bound}{counted(n_prompts, 'prompt')} of {counted(len(numbers), 'fact')} to attribute, "
        f"{seconds:.2g} s each (measured on {TRIED} of {job.name(trial)}): "
        f"{bound}{duration(n_prompts * seconds)}, and what ablation and edits take"
    )


def _can_be_attributed(job: Job, model: "TransformerBridge", number: int) -> bool:
    return job.can_be_asked(model, job.facts.facts[number], held_out=False)


def _count_prompts(job: Job, fact: Fact) -> int:
    """How many prompts choose a fact's neurons; none where the fact has no such prompts."""
    try:
        return len(job.questions.split(fact)[0])
    except ValueError:
        return 0


def duration(seconds: float) -> str:
    """A time in the unit that people would use."""
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return counted(round(seconds), "second")


def _seconds_a_prompt(model: "TransformerBridge", job: Job, number: int) -> float:
    """Attribute two prompts of a fact by every method of the plan."""
    fact, plan = job.facts.facts[number], job.plan
    others, _ = job.facts_beside(model, number)
    corpus, _ = job.questions.split(fact, *others)
    language = fact.languages[0]
    corpus = [prompt for prompt in corpus if prompt.language == language]
    asked = [prompt for prompt in corpus if prompt.fact_id == fact.id][:TRIED]
    seconds = 0.0
    for _ in range(2):  # what is done the first time only does not count
        begun = time.perf_counter()
        for method in plan.methods:
            attribute(
                model, asked, method=method, position=plan.position, target=plan.target,
                n_steps=plan.n_steps, max_rows=plan.max_rows, corpus=corpus,
                baseline=plan.baseline if METHODS[method].takes_baseline else "auto",
            )  # fmt: skip
        seconds = time.perf_counter() - begun
    return seconds / len(asked)
