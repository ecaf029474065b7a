"""Find cached subjects in texts: how many are found, how often wrongly, and how fast.

    python benchmarks/matching.py                        # the embedded facts, then timings
    python benchmarks/matching.py --folder path/to/MzsRE # your copy of MzsRE, Bi-ZsRE or BMIKE-53

The tables give, by language and rule, *recall*, the share of prompts in which the matcher finds
their subject, and *false*, the share of texts in which a subject fires that they do not ask about.
`substring` is the literal name anywhere in the text, without word boundaries. Then come the rules,
each added to those before it.

The embedded facts are tested in three ways: with all subjects cached, for recall and confusion
(another subject fires as well, or instead); with one subject cached, on the prompts of all others;
and for which subjects are confused with which. With `--folder`, every *.json in it is read: a list
of records, language -> `subject`, `src`, `rephrase`, `loc` and the portability question. All its
subjects are cached in all its languages. False fires are those on `loc`, and confusion is another
subject that fires on `src` or `rephrase`.
"""

import argparse
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

import lafn_viz as lv
from lafn_viz.editing.retrieval.match import MATCH_RULES
from lafn_viz.editing.retrieval.subject_matcher import SubjectMatcher

Names = dict[str, dict[str, list[str]]]
# (kind, language, key of the subject asked about, text)
Asked = tuple[str, str, str, str]
LADDER = {
    "exact": MATCH_RULES[:1],
    "+normalised": MATCH_RULES[:2],
    "+alias": MATCH_RULES[:3],
    "+fuzzy": MATCH_RULES,
}


class Substring:
    """Finds the literal name in the text's language, anywhere in the text."""

    def __init__(self, names: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        self.names = names

    def keys(self, text: str, language: str) -> set[str]:
        return {key for key, own in self.names.items() if any(x in text for x in own[language][:1])}


class Rules(SubjectMatcher):
    def keys(self, text: str, language: str) -> set[str]:
        return {match.key for match in self.find(text, language=language)}


def matchers(names: Names) -> dict[str, Substring | Rules]:
    full = {key: defaultdict(list, own) for key, own in names.items()}
    ladder = {label: Rules(names, rules=rules) for label, rules in LADDER.items()}
    return {"substring": Substring(full), **ladder}


def measure(names: Names, asked: Iterable[Asked]) -> pd.DataFrame:
    """One row per text and matcher: whether its subject fires, and whether another one does."""
    rows = []
    texts = list(asked)
    for label, matcher in matchers(names).items():
        for kind, language, key, text in texts:
            fired = matcher.keys(text, language)
            rows.append((label, kind, language, key in fired, bool(fired - {key})))
    return pd.DataFrame(rows, columns=["rule", "kind", "language", "hit", "other"])


def show(title: str, table: pd.DataFrame, column: str) -> None:
    """Print percentages by language and rule, and their mean over languages."""
    if table.empty:
        return
    shown = table.pivot_table(index="language", columns="rule", values=column, aggfunc="mean")
    shown = shown[[label for label in ("substring", *LADDER) if label in shown]]
    shown.loc["mean"] = shown.mean()
    shown["n"] = table[table["rule"] == "exact"].groupby("language").size()
    print(f"\n{title} (percent)\n{(shown.mul([100] * len(shown.columns[:-1]) + [1])).round(1)}")


def embedded() -> tuple[Names, list[Asked]]:
    facts = lv.load_facts()
    names: Names = defaultdict(dict)
    for fact in facts:
        for language, name in fact.subject.items():
            listed = names[fact.subject_id].setdefault(language, [])
            if name not in listed:
                listed.append(name)
    subjects = {fact.id: fact.subject_id for fact in facts}
    return dict(names), [
        ("prompt", prompt.language, subjects[prompt.fact_id], prompt.text)
        for prompt in facts.prompts()
    ]


def one_cached(names: Names, asked: list[Asked], n: int, seed: int) -> pd.DataFrame:
    """Cache each of `n` subjects alone; try one prompt per language of every other subject."""
    draw = random.Random(seed)
    by_subject: dict[tuple[str, str], list[Asked]] = defaultdict(list)
    for one in asked:
        by_subject[one[1:3]].append(one)
    tables = []
    for key in draw.sample(sorted(names), n):
        others = [draw.choice(own) for (_, other), own in by_subject.items() if other != key]
        tables.append(measure({key: names[key]}, others))
    return pd.concat(tables)


def confusion(names: Names, asked: list[Asked]) -> None:
    """Print which subject fires with or instead of which other one, with all rules."""
    matcher = SubjectMatcher(names)
    seen: Counter[tuple[str, ...]] = Counter()
    for _, language, key, text in asked:
        for match in matcher.find(text, language=language):
            if match.key != key:
                matched = text[slice(*match.span)]
                seen[language, names[key][language][0], match.name, match.rule, matched] += 1
    table = pd.DataFrame(
        [(*row, count) for row, count in seen.most_common(12)],
        columns=["language", "asked", "fires", "rule", "text", "prompts"],
    )
    print(f"\nmost frequent confusions, all subjects cached\n{table.to_string(index=False)}")


def read_folder(folder: Path) -> tuple[Names, list[Asked]]:
    names: Names = defaultdict(dict)
    asked = {}
    for path in sorted(folder.glob("*.json")):
        records = json.loads(path.read_text("utf-8"))
        for record in records if isinstance(records, list) else []:
            if not all(isinstance(own, dict) and own.get("subject") for own in record.values()):
                continue
            key = record.get("en", next(iter(record.values())))["subject"]
            for language, own in record.items():
                listed = names[key].setdefault(language, [])
                if own["subject"] not in listed:
                    listed.append(own["subject"])
                portability = own.get("portability") or {}
                new = portability.get("New Question") or own.get("port")
                texts = {
                    "port": new,
                    **{kind: own.get(kind) for kind in ("src", "rephrase", "loc")},
                }
                for kind, text in texts.items():
                    if text:
                        asked[kind, language, key, text.removeprefix("nq question: ")] = None
    return dict(names), list(asked)


def many(names: Names, n: int, seed: int) -> Names:
    """`n` subjects: the given ones, then made-up ones from two of their words in each language."""
    draw = random.Random(seed)
    keys = sorted(names)
    made = {}
    for number in range(n):
        if number < len(keys):
            made[keys[number]] = names[keys[number]]
            continue
        a, b = draw.sample(keys, 2)
        made[f"{number}"] = {
            language: [f"{names[a][language][0].split()[0]} {names[b][language][0].split()[-1]}"]
            for language in names[a]
        }
    return made


def timings(names: Names, asked: list[Asked], seed: int) -> None:
    draw = random.Random(seed)
    texts = draw.sample(asked, 1000)
    rows = []
    for n in (1, 10, 100, 1000):
        cached = many(names, n, seed)
        begin = time.perf_counter()
        matcher = SubjectMatcher(cached)
        built = time.perf_counter() - begin
        row: dict[str, float] = {"subjects": n, "names": n * 12, "build ms": 1e3 * built}
        for label, rules in (("exact to alias", MATCH_RULES[:3]), ("all rules", MATCH_RULES)):
            matcher = SubjectMatcher(cached, rules=rules)
            times = []
            for _, language, _, text in texts:
                begin = time.process_time()
                matcher.find(text, language=language)
                times.append(1e3 * (time.process_time() - begin))
            row |= {f"{label}, ms": sorted(times)[500], f"p95, {label}": sorted(times)[950]}
        long = " ".join(text for *_, text in asked)[:1_000_000]
        begin = time.perf_counter()
        matcher.find(long)
        rows.append(row | {"1 MB, s": time.perf_counter() - begin})
    print(f"\nfind() on prompts of the facts\n{pd.DataFrame(rows).round(2).to_string(index=False)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, help="a folder of *.json files in the format of MzsRE"
    )
    parser.add_argument("--alone", type=int, default=20, help="how many subjects to cache alone")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    names, asked = embedded()
    if args.folder:
        own, questions = read_folder(args.folder)
        print(f"{len(own)} subjects in {args.folder}, all cached")
        table = measure(own, questions)
        for kind in ("src", "rephrase", "port"):
            show(f"recall, {kind}", table[table["kind"] == kind], "hit")
        asks = table["kind"].isin(["src", "rephrase"])
        show("another subject fires, src and rephrase", table[asks], "other")
        unrelated = table[table["kind"] == "loc"].assign(false=lambda x: x["hit"] | x["other"])
        show("false fires, loc", unrelated, "false")
        return
    print(f"{len(names)} subjects of the embedded facts, all cached")
    table = measure(names, asked)
    show("recall", table, "hit")
    show("another subject fires", table, "other")
    show(
        "false fires, one subject cached", one_cached(names, asked, args.alone, args.seed), "other"
    )
    confusion(names, asked)
    timings(names, asked, args.seed)


if __name__ == "__main__":
    main()
