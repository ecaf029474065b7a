"""Find what a text asks for by the model's own neurons: recall and false fires, with controls.

    python benchmarks/activation_matching.py                # 60 edits cached, 12 languages
    python benchmarks/activation_matching.py --parts alone --queries 100

Keys need neurons, not values, so no values are optimised here. Each subject with several relations
gives one fact. A fact's neurons are the `--located` ones with the highest attribution in one
wording per language. Two sets of neurons make keys: the neurons of all edits together ("pooled",
the default of `ActivationMatcher`), and the few that most edits share. The controls are as many
random neurons of the same layers, every neuron, and keys of the wrong facts (each edit with the
prompts of the next).

*recall*: wordings that took no part fire their edit. *relation*: an edit fires on another relation
of its subject. *subject*: any edit fires on subjects that are neither cached nor used to set the
threshold. All are percentages with 95% bootstrap intervals over facts. Thresholds are set on
trained wordings of the other relations and, without names, of half of the other subjects. "names"
are the rules of `SubjectMatcher` alone, which fire every edit of a subject.

The last part takes away half of an edit's languages, both names and prompts, and asks in all.
"""

import argparse
import dataclasses
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

import lafn_viz as lv
from lafn_viz.core.stats import bootstrap
from lafn_viz.models.capabilities import capabilities, weights_of
from lafn_viz.neurons.neuron_sets import Neuron

Neurons = list[tuple[int, int]]
KINDS = ("recall", "relation", "subject")


def made(model, fact: lv.Fact, facts: lv.FactSet, located: int) -> lv.Edit:
    """An edit of a fact that adds nothing, on the neurons with the highest attribution."""
    own = facts.filter(relation=fact.relation, subjects=fact.subject_id).prompts()
    own = [prompt for prompt in own if prompt.split == "trained"]
    one = {prompt.language: prompt for prompt in own}
    values = lv.attribute(model, list(one.values())).values.mean(0)
    top = values.flatten().topk(located).indices.sort().values
    return lv.Edit(
        subject_id=fact.subject_id,
        relation=fact.relation,
        names={language: (name,) for language, name in fact.subject.items()},
        old=fact.object,
        new=fact.object,
        neurons=tuple(Neuron(*divmod(int(i), values.shape[1])) for i in top),
        values=torch.zeros(located),
        position="from_subject",
        curve=(0.0,),
        loss=0.0,
        divergence=0.0,
        prompts=tuple(own),
        provenance=lv.Provenance("none", weights_of(model), "benchmark"),
    )


def as_many(neurons: Neurons, d_mlp: int, seed: int) -> Neurons:
    """As many random neurons of the same layers; they may include the given ones."""
    draw = random.Random(seed)
    counts = Counter(layer for layer, _ in neurons)
    return [(layer, i) for layer, n in counts.items() for i in draw.sample(range(d_mlp), n)]


class Asked:
    """The queries for some edits, and the prompts that set a threshold."""

    def __init__(self, facts: lv.FactSet, edits: Sequence[lv.Edit], n: int, seed: int) -> None:
        draw = random.Random(seed)
        self.edits = {edit.key for edit in edits}
        self.subject = {fact.id: fact.subject_id for fact in facts}
        cached = {edit.subject_id for edit in edits}
        rest = sorted({fact.subject_id for fact in facts} - cached)
        draw.shuffle(rest)
        near, far = set(rest[::2]), set(rest[1::2])
        groups = defaultdict(list)
        for prompt in facts.prompts(splits=["trained", "held-out paraphrase"]):
            subject, held = self.subject[prompt.fact_id], prompt.split != "trained"
            if subject in cached:
                kind = "recall" if self.key(prompt) in self.edits else "relation"
                groups[kind if held else f"other {kind}"].append(prompt)
            elif subject in near and not held:
                groups["near"].append(prompt)
            elif subject in far and held:
                groups["subject"].append(prompt)
        self.queries = {
            kind: draw.sample(groups[kind], min(n, len(groups[kind]))) for kind in KINDS
        }
        self.named = draw.sample(
            groups["other relation"], min(2 * n, len(groups["other relation"]))
        )
        self.others = [*self.named, *draw.sample(groups["near"], min(3 * n, len(groups["near"])))]

    def key(self, prompt: lv.Prompt) -> tuple[str, str]:
        return self.subject[prompt.fact_id], prompt.relation

    def measure(self, find: Callable[[str], Sequence[lv.Match]], label: str) -> pd.DataFrame:
        """One row per query: whether the right edit fired (recall), or any edit (other kinds)."""
        rows = []
        for kind, prompts in self.queries.items():
            for prompt in prompts:
                # A match without a relation fires every edit of its subject.
                fired = {
                    key
                    for match in find(prompt.text)
                    for key in self.edits
                    if key[0] == match.key and match.relation in (None, key[1])
                }
                hit = self.key(prompt) in fired if kind == "recall" else bool(fired)
                rows.append((label, kind, prompt.language, prompt.fact_id, hit))
        return pd.DataFrame(rows, columns=["keys", "kind", "language", "fact", "hit"])


def shown(table: pd.DataFrame) -> str:
    """A table of percentages with intervals, by keys and kind."""
    lines = []
    for label, own in table.groupby("keys", sort=False):
        line = {"keys": label}
        for kind, rows in own.groupby("kind", sort=False):
            means = 100 * rows.groupby("fact")["hit"].mean()
            low, high = bootstrap(np.array(means))
            line[str(kind)] = f"{means.mean():.1f} [{low:.1f}, {high:.1f}]"
        lines.append(line)
    return pd.DataFrame(lines).to_string(index=False)


def by_language(table: pd.DataFrame, labels: Sequence[str]) -> str:
    """A table of percentages with intervals by language, for some keys."""
    lines = []
    for language, own in table.groupby("language", sort=False):
        line = {"language": language}
        for label in labels:
            for kind in KINDS:
                rows = own[(own["keys"] == label) & (own["kind"] == kind)]
                means = 100 * rows.groupby("fact")["hit"].mean()
                low, high = bootstrap(np.array(means))
                line[f"{label}: {kind}"] = f"{means.mean():.0f} [{low:.0f}, {high:.0f}]"
        lines.append(line)
    return pd.DataFrame(lines).sort_values("language").to_string(index=False)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--edits", type=int, default=60)
    parser.add_argument("--located", type=int, default=100, help="neurons per edit")
    parser.add_argument("--queries", type=int, default=700, help="the most queries of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parts = ("names", "alone", "unknown")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    args = parser.parse_args(given)
    model, facts = lv.load_model(args.model), lv.load_facts()
    n_layers, d_mlp = capabilities(model).n_layers, capabilities(model).d_mlp
    of_subject = defaultdict(list)
    for fact in facts:
        of_subject[fact.subject_id].append(fact)
    several = sorted(subject for subject, own in of_subject.items() if len(own) > 1)
    draw = random.Random(args.seed)
    chosen = [draw.choice(of_subject[x]) for x in draw.sample(several, args.edits)]
    edits = [made(model, fact, facts, args.located) for fact in chosen]
    asked = Asked(facts, edits, args.queries, args.seed)
    names = lv.EditCache(edits).find
    counts = Counter(neuron for edit in edits for neuron in edit.neurons)
    pooled = [tuple(neuron) for neuron, _ in counts.most_common(1000)]
    often = pooled[: args.located]
    wrong = [
        dataclasses.replace(edit, prompts=other.prompts)
        for edit, other in zip(edits, [*edits[1:], edits[0]], strict=True)
    ]
    keys: dict[str, tuple[Sequence[lv.Edit], Neurons]] = {
        f"pooled, {len(pooled)}": (edits, pooled),
        "random, as many": (edits, as_many(pooled, d_mlp, args.seed)),
        f"most shared, {len(often)}": (edits, often),
        "random, as few": (edits, as_many(often, d_mlp, args.seed)),
        "every neuron": (edits, [(a, b) for a in range(n_layers) for b in range(d_mlp)]),
        "pooled, wrong facts": (wrong, pooled),
    }
    for part, title, find, others in (
        ("names", "names and activations", names, asked.named),
        ("alone", "activations alone", None, asked.others),
    ):
        if part not in args.parts:
            continue
        tables = [asked.measure(names, "names")]
        for label, (key_edits, neurons) in keys.items():
            matcher = lv.ActivationMatcher(model, key_edits, others, names=find, neurons=neurons)
            tables.append(asked.measure(matcher.find, label))
        table = pd.concat(tables)
        print(f"\n{title}, {len(edits)} edits\n{shown(table)}")
        print(f"\n{by_language(table, [next(iter(keys)), 'random, as few'])}")
    if "unknown" in args.parts:
        unknown(model, edits, asked)


def unknown(model, edits: Sequence[lv.Edit], asked: Asked) -> None:
    """Print recall in languages that the edits have, and in those that they lack."""
    languages = sorted({prompt.language for edit in edits for prompt in edit.prompts})
    kept = languages[::2]
    half = [
        dataclasses.replace(
            edit,
            names={x: own for x, own in edit.names.items() if x in kept},
            prompts=tuple(p for p in edit.prompts if p.language in kept),
        )
        for edit in edits
    ]
    alone = lv.ActivationMatcher(model, half, asked.others)
    tables = []
    for label, find in (("names", lv.EditCache(half).find), ("activations alone", alone.find)):
        table = asked.measure(find, label)
        known = np.where(table["language"].isin(kept), "of the edit", "of none")
        recall = table["kind"] == "recall"
        table["kind"] = np.where(recall, known, table["kind"])
        tables.append(table)
    print(f"\nedits in {', '.join(kept)} only\n{shown(pd.concat(tables))}")


if __name__ == "__main__":
    main()
