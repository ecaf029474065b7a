"""Checks of unit 6: which facts are known, what chance gives, and how many tests to correct for."""

import random
from collections.abc import Callable, Iterable, Sequence

from lafn_viz.course.grading import Wrong, check, number, run

Row = tuple[str, str, bool]  # fact, language, whether this wording is answered


@check
def check_known_everywhere(answer: Callable[[Sequence[Row]], Iterable[str]]) -> str:
    """`answer(rows)`: facts known in every language, by more than half of its wordings."""
    languages, rows = ("en", "ru", "zh"), []
    # How many of four wordings are answered, by language.
    answered = {"Japan": (4, 4, 3), "Peru": (4, 4, 0), "Egypt": (3, 2, 4), "Italy": (3, 3, 3)}
    for fact, counts in answered.items():
        for language, count in zip(languages, counts, strict=True):
            rows += [(fact, language, i < count) for i in range(4)]
    random.Random(0).shuffle(rows)
    given = run(answer, rows)
    if isinstance(given, str | bool | int | dict) or not isinstance(given, Iterable):
        raise Wrong("Return the facts that are known, by name, and no others.")
    got = set(given)
    if got == {"Japan", "Italy"}:
        return (
            "Two of four facts are left. The model answers 8 of 12 prompts about Peru but none in "
            "Chinese: its Chinese neurons would be neurons of something else."
        )
    if got == set(answered):
        raise Wrong(
            "Peru is among them, although no Chinese wording of it is answered. One language, or "
            "all wordings taken together, is not enough: look at each language by itself."
        )
    if got == {"Japan"}:
        raise Wrong("Italy is missing. Three of four wordings are more than half.")
    if not got:
        raise Wrong("No fact is left. Do you ask for all wordings? More than half are enough.")
    if "Peru" in got or "Egypt" in got:
        name = "Peru" if "Peru" in got else "Egypt"
        share = "none is" if name == "Peru" else "two are"
        language = "Chinese" if name == "Peru" else "Russian"
        raise Wrong(
            f"{name} is among them, but of its four {language} wordings {share} answered. In every "
            "language it has to be more than half."
        )
    raise Wrong(f"Japan and Italy are known in every language; you return {sorted(got)}.")


@check
def check_chance_jaccard(answer: Callable[[int, int], float]) -> str:
    """`answer(k, n)`: expected Jaccard index of two random sets of k out of n neurons."""
    for k, n in ((51, 2560), (256, 2560), (1280, 2560)):
        shared = k * k / n
        right = shared / (2 * k - shared)
        got = number(run(answer, k, n))
        if abs(got - right) < 1e-6:
            continue
        for wrong, why in (
            (k / n, "This is the share of one set that is in the other; divide by the union"),
            (shared / (2 * k), "You count shared neurons twice in the union"),
            (shared, "This is the number of shared neurons; divide it by the union"),
            (1 / right, "You divide the union by the intersection; do it the other way round"),
        ):
            if abs(got - wrong) < 1e-6:
                raise Wrong(f"For {k} of {n} neurons yours is {got:.4f}. {why}.")
        raise Wrong(f"For {k} of {n} neurons the index is {right:.4f}; yours is {got:.4f}.")
    draw = random.Random(0)
    one, other = (set(draw.sample(range(n), k)) for _ in range(2))
    measured = len(one & other) / len(one | other)
    return (
        f"Two random halves of {n} neurons, drawn just now, have a Jaccard index of "
        f"{measured:.2f}: chance alone gives a third."
    )


@check
def check_discoveries(answer: Callable[..., int]) -> str:
    """`answer(p_values, level)`: number of discoveries at a false discovery rate of `level`."""
    from scipy.stats import false_discovery_control

    draw = random.Random(0)
    for real in (0, 5, 20):
        tests = [draw.random() for _ in range(100)] + [draw.random() * 2e-3 for _ in range(real)]
        right = int((false_discovery_control(tests) <= 0.05).sum())
        got = _count(run(answer, list(tests), 0.05))
        if got == right:
            continue
        if got == right - 1:
            raise Wrong("You count one too few. Do your ranks start at 1?")
        strict = sum(p <= 0.05 / len(tests) for p in tests)
        if got == sum(p <= 0.05 for p in tests):
            raise Wrong(
                f"Of {len(tests)} tests, {real} of them real, you let {got} pass: without a "
                "correction one in twenty passes by chance. The limit has to depend on the rank."
            )
        if got == strict:
            raise Wrong(
                f"You divide the level by all {len(tests)} tests (Bonferroni). That guards against "
                f"a single false discovery, and lets {got} pass where {real} are real. The limit "
                "of rank i is level * i / m."
            )
        raise Wrong(f"Of {len(tests)} tests {right} should pass; you let {got} pass.")
    few = [0.02, 0.03, 0.03, 0.9]
    for level, passing in ((0.05, 3), (0.01, 0)):
        got = _count(run(answer, list(few), level))
        if got != passing:
            raise Wrong(
                f"Of the p-values {few} at level {level}, {passing} are discoveries; you count "
                f"{got}. The largest rank that passes takes all below it along. (Do you use "
                "`level`?)"
            )
    plain = sum(p <= 0.05 for p in tests)
    return f"Of {len(tests)} tests, {real} of them real, {right} pass; uncorrected {plain} would."


def _count(given: object) -> int:
    count = number(given)
    if isinstance(given, bool) or not count.is_integer():
        raise Wrong(
            f"Return the number of tests that pass, not {given!r:.60}. (`passing` is a list of "
            "ranks alone.)"
        )
    return int(count)
