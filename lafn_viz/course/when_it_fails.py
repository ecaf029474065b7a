"""Checks of unit 6: what is known, what chance gives, how many tests were made."""

import random
from collections.abc import Callable, Iterable, Sequence

from lafn_viz.course.grading import Wrong, check, number, run

Row = tuple[str, str, bool]  # fact, language, whether this wording is answered


@check
def check_known_everywhere(answer: Callable[[Sequence[Row]], Iterable[str]]) -> str:
    """`answer(rows)`: facts of which each language answers more than half of the wordings."""
    languages, rows = ("en", "ru", "zh"), []
    # How many of four wordings are answered, by language.
    answered = {"Japan": (4, 4, 3), "Peru": (4, 4, 0), "Egypt": (3, 2, 4), "Italy": (3, 3, 3)}
    for fact, counts in answered.items():
        for language, count in zip(languages, counts, strict=True):
            rows += [(fact, language, i < count) for i in range(4)]
    random.Random(0).shuffle(rows)
    given = run(answer, rows)
    if isinstance(given, str | bool | int | dict) or not isinstance(given, Iterable):
        raise Wrong("The facts are asked for, by name: those that are known, and no others.")
    got = set(given)
    if got == {"Japan", "Italy"}:
        return (
            "Two of four facts are left. Peru is answered in 8 of 12 prompts and never in Chinese: "
            "its Chinese neurons would be neurons of something else."
        )
    if got == set(answered):
        raise Wrong(
            "Peru is among them. No Chinese wording of it is answered: one language, or all "
            "wordings taken together, is not enough. Look at each language by itself."
        )
    if got == {"Japan"}:
        raise Wrong("Italy is missing: three of four wordings are more than half.")
    if not got:
        raise Wrong("No fact is left: are all wordings asked for? More than half are enough.")
    if "Peru" in got or "Egypt" in got:
        name = "Peru" if "Peru" in got else "Egypt"
        share = "none is" if name == "Peru" else "two are"
        language = "Chinese" if name == "Peru" else "Russian"
        raise Wrong(
            f"{name} is among them, and of its four {language} wordings {share} answered. Every "
            "language has to have more than half."
        )
    raise Wrong(f"Japan and Italy are known in every language; yours are {sorted(got)}.")


@check
def check_chance_jaccard(answer: Callable[[int, int], float]) -> str:
    """`answer(k, n)`: Jaccard to expect of two random sets of k of n neurons."""
    for k, n in ((51, 2560), (256, 2560), (1280, 2560)):
        shared = k * k / n
        right = shared / (2 * k - shared)
        got = number(run(answer, k, n))
        if abs(got - right) < 1e-6:
            continue
        for wrong, why in (
            (k / n, "the share of one set that is in the other. Jaccard divides by the union"),
            (shared / (2 * k), "as if shared neurons counted twice in the union"),
            (shared, "how many neurons are shared; Jaccard is a share of the union"),
            (1 / right, "the union over the intersection"),
        ):
            if abs(got - wrong) < 1e-6:
                raise Wrong(f"For {k} of {n} yours is {got:.4f}: {why}.")
        raise Wrong(f"For {k} of {n} neurons it is {right:.4f}; yours is {got:.4f}.")
    draw = random.Random(0)
    one, other = (set(draw.sample(range(n), k)) for _ in range(2))
    measured = len(one & other) / len(one | other)
    return (
        f"Two random halves of {n} neurons, drawn just now, overlap by {measured:.2f}: a third is "
        "what chance gives."
    )


@check
def check_discoveries(answer: Callable[..., int]) -> str:
    """`answer(p_values, level)`: how many tests pass at a false discovery rate of `level`."""
    from scipy.stats import false_discovery_control

    draw = random.Random(0)
    for real in (0, 5, 20):
        tests = [draw.random() for _ in range(100)] + [draw.random() * 2e-3 for _ in range(real)]
        right = int((false_discovery_control(tests) <= 0.05).sum())
        got = _count(run(answer, list(tests), 0.05))
        if got == right:
            continue
        if got == right - 1:
            raise Wrong("One too few: do your ranks begin at 1?")
        strict = sum(p <= 0.05 / len(tests) for p in tests)
        if got == sum(p <= 0.05 for p in tests):
            raise Wrong(
                f"Of {len(tests)} tests, {real} of them real, {got} pass: with no correction one "
                "in twenty passes by chance. The limit has to follow the rank."
            )
        if got == strict:
            raise Wrong(
                f"Dividing the level by all {len(tests)} tests (Bonferroni) lets {got} pass of "
                f"{real} real ones: it guards against a single false one. The limit of rank i is "
                "level * i / m."
            )
        raise Wrong(f"Of {len(tests)} tests {right} should pass; yours lets {got} pass.")
    few = [0.02, 0.03, 0.03, 0.9]
    for level, passing in ((0.05, 3), (0.01, 0)):
        got = _count(run(answer, list(few), level))
        if got != passing:
            raise Wrong(
                f"Of the p-values {few} at level {level} {passing} are discoveries; yours are "
                f"{got}. The largest rank that passes takes all below it along; use `level`."
            )
    plain = sum(p <= 0.05 for p in tests)
    return f"Of {len(tests)} tests, {real} of them real, {right} pass; without correction {plain}."


def _count(given: object) -> int:
    count = number(given)
    if isinstance(given, bool) or not count.is_integer():
        raise Wrong(
            f"A number of tests is asked for, not {given!r:.60}: `passing` is a list of ranks "
            "alone."
        )
    return int(count)
