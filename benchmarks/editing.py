"""Editing: located neurons beside as many random ones, and what a large cache costs.

    python benchmarks/editing.py                      # 20 edits in 12 languages
    python benchmarks/editing.py --edits 5 --neurons 10 100 --position from_subject
    python benchmarks/editing.py --edits 0            # the cache alone

First: `counterfactual_cases` of the embedded facts, each edited with neurons located by the edit
itself, by attribution (the paper's way), and drawn at random from the same layers. Shares of whole
answers that greedy decoding writes, with 95% bootstrap intervals over edits: reliability (the
wordings that were optimised), generality (one wording a language that took no part), same (other
relations of the subject, in wordings that took no part: is the likeliest answer as before), and
seconds an edit takes. Every prompt is read with the values added, so `same` does not lean on
retrieval.

Then: milliseconds a token that the model writes takes, with caches of several sizes, of which one
edit fires. The sizes take turns, so that a busy machine slows all alike.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Sequence

import pandas as pd
import torch

import lafn_viz as lv
from lafn_viz.editing import Edit, lafn_edit
from lafn_viz.models import traits
from lafn_viz.neurons import random_like
from lafn_viz.overlaps import bootstrap
from lafn_viz.reading import Reading

SIZES = (1, 10, 100, 1000)
TOKENS = 40


def shares(model, facts: lv.FactSet, case: lv.EditCase, edit: Edit) -> dict[str, float]:
    """Reliability, generality, and how much of the subject's other relations is the same."""
    groups = {"reliability": case.prompts("edit"), "generality": case.prompts("rephrased")}
    own = facts.filter(subjects=edit.subject_id).prompts()
    used = {prompt.text for prompt in edit.prompts}
    groups["same"] = [
        p for p in own if p.relation != edit.relation and p.text not in used and p.paraphrase > 2
    ]
    added = edit.added(traits(model).d_mlp)
    found = {}
    for name, prompts in groups.items():
        if prompts:
            reading = Reading(model, prompts, edit.position)
            with torch.no_grad():
                before, after = reading.logits({}), reading.logits(added)
            right = reading.same(before, after) if name == "same" else reading.known(after)
            found[name] = float(right.float().mean())
    return found


def compare(model, facts: lv.FactSet, args: argparse.Namespace) -> pd.DataFrame:
    """One row an edit, a way to locate and a number of neurons."""
    shape = traits(model).n_layers, traits(model).d_mlp
    rows = []
    for number, case in enumerate(lv.counterfactual_cases(facts, n=args.edits, seed=args.seed)):
        fact = facts[case.id.split("->")[0]]
        new = {language: asked[0].answer for language, asked in case.edit.items()}
        options = {
            "subject": fact.subject_id, "relation": fact.relation, "new_object": new,
            "position": args.position,
        }  # fmt: skip
        for count in args.neurons:
            located = None
            for by in ("pruned", "attribution", "random"):
                start = time.perf_counter()
                if by == "random":
                    drawn = random_like(located.neurons, shape, seed=args.seed)
                    edit = lafn_edit(model, facts, **options, neurons=drawn)
                else:
                    edit = lafn_edit(model, facts, **options, n_neurons=count, locate=by)
                located = located or edit
                seconds = time.perf_counter() - start
                row = {"edit": number, "neurons": count, "by": by, "seconds": seconds}
                rows.append(row | shares(model, facts, case, edit))
    return pd.DataFrame(rows)


def readable(table: pd.DataFrame) -> str:
    """Means with their intervals."""
    lines = []
    for (count, by), some in table.groupby(["neurons", "by"], sort=False):
        row = {"neurons": count, "by": by}
        for name in ("reliability", "generality", "same"):
            values = some[name].dropna().to_numpy()
            low, high = bootstrap(values)
            row[name] = f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"
        lines.append(row | {"seconds": round(some["seconds"].median(), 1)})
    return pd.DataFrame(lines).to_string(index=False)


def caches(facts: lv.FactSet, edit: Edit) -> dict[int, lv.EditCache]:
    """Caches of several sizes with this edit and others, of further subjects by made-up names."""
    subjects = list({fact.subject_id: fact for fact in facts}.values())
    edits = [edit]
    for number in range(max(SIZES)):
        one, other = subjects[number % len(subjects)], subjects[number // len(subjects)]
        names = {x: (f"{name} {other.id} {number}",) for x, name in one.subject.items()}
        edits.append(dataclasses.replace(edit, subject_id=f"{one.id} {number}", names=names))
    return {size: lv.EditCache(edits[:size]) for size in SIZES}


def speed(model, facts: lv.FactSet, repeat: int) -> pd.DataFrame:
    """Milliseconds a token, without edits and by the size of the cache."""
    edit = lafn_edit(
        model, facts, subject="Japan", relation="capital", new_object="Rome", position="answer"
    )
    tokens = model.tokenizer("The capital of Japan is", return_tensors="pt")["input_ids"]
    length = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS}

    def write() -> float:
        start = time.perf_counter()
        model.original_model.generate(tokens, do_sample=False, pad_token_id=0, **length)
        return (time.perf_counter() - start) / TOKENS * 1e3

    took: dict[int, list[float]] = {0: []}
    first: dict[int, float] = {}
    made = caches(facts, edit)
    for _ in range(repeat):
        took[0].append(write())
        for size, cache in made.items():
            with cache.applied(model) as fired:
                start = time.perf_counter()
                cache.find("The capital of Japan is")
                first.setdefault(size, time.perf_counter() - start)
                took.setdefault(size, []).append(write())
                assert len(fired) == 1, "the edit should fire, and no other"
    return pd.DataFrame(
        {
            "edits": size,
            "ms a token": round(statistics.median(all_of), 2),
            "of none": round(statistics.median(all_of) / statistics.median(took[0]), 2),
            "first search, s": round(first.get(size, 0), 2),
        }
        for size, all_of in took.items()
    )


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--neurons", type=int, nargs="+", default=[20, 40, 100])
    parser.add_argument("--position", default="answer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    model, facts = lv.load_model(args.model), lv.load_facts().filter(leaking=False)
    if args.edits:
        print(readable(compare(model, facts, args)))
    print(speed(model, facts, args.repeat).to_string(index=False))


if __name__ == "__main__":
    main()
