"""Editors side by side: by number of neurons and by language, and the cost of a large cache.

    python benchmarks/editing.py --out results             # 100 edits in 12 languages; hours
    python benchmarks/editing.py --edits 5 --neurons 10 100 --parts editors neurons
    python benchmarks/editing.py --parts "at once" --seed 1 --weight 100
    python benchmarks/editing.py --parts speed
    python benchmarks/editing.py --parts cost --model gemma-3-270m
    python benchmarks/editing.py --parts editors --model gemma-3-270m \\
        --subjects France Japan Germany Italy Russia Spain --languages en fr ru zh --known \\
        --editors language-agnostic "random neurons" "at the subject" "random at the subject"

The cases are `counterfactual_cases` of the embedded facts, or give each of `--subjects` the capital
of the next. With `--known`, each is edited and asked in the languages in which the model knows it.
Scores are shares of the answers that greedy decoding writes (`evaluate`; whole answers that end
where they should), as means over edits with 95% bootstrap intervals. The settings of the editors
were chosen on edits of another seed. With `--out`, results are kept, and the same command resumes
where it was.

- **editors**: all editors, one edit at a time. "By relation" acts only where the text asks for the
  relation, too (`gate_by_relation`). "ROME" and "MEMIT" edit the first layer at the
  subject's last token, as published for it; "traced" is the layer and the position at which the
  neurons of another subject make its answer likelier most (`trace_subject`). "As published" has the
  papers' search, too: Adam with a bounded change, for LU-LAFNs on the neurons that are most active
  in every question, for ROME and MEMIT with ten prefixes and MEMIT's weight of 15,000.
- **agnostic**: edits on the neurons that are agnostic for the fact, on as many of another fact of
  the cases, and on as many random ones of the same layers; at most 40.
- **at once**: all edits applied together. MEMIT's weight is chosen on edits of another seed.
- **neurons**: located and random neurons, by their number.
- **languages**: edits made in one language and asked in all, and the conflict between languages.
- **speed**: milliseconds per token with caches of several sizes, in which one edit fires. The sizes
  take turns, so that a busy machine slows all of them alike.
- **cost**: seconds, evaluations of the loss and memory of one edit, in the languages in which the
  model knows the fact: neurons located by the edit itself, and by attribution before it.
"""

import argparse
import dataclasses
import itertools
import random
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

import lafn_viz as lv
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.baselines.fine_tuning import fine_tuning
from lafn_viz.editing.baselines.knowledge_neurons import knowledge_neurons, scaled
from lafn_viz.editing.baselines.neuron_editors import (
    Gate,
    cache_of,
    language_agnostic,
    per_language,
    random_neurons,
)
from lafn_viz.editing.baselines.rome_memit import memit, rome
from lafn_viz.models.capabilities import capabilities
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron

SIZES = (1, 10, 100, 1000)
TOKENS = 40
AS_PUBLISHED = {"search": "as_published", "decay": 0.5}
TRACED, N_TRACED = ("ROME traced", "MEMIT traced"), 16  # editors, and pairs of prompts
MANY = 40  # agnostic neurons to edit, at most
PARTS = ("editors", "agnostic", "at once", "neurons", "languages", "speed", "cost")


def remembered(editor: Editor) -> Editor:
    """The same editor, which makes each edit only once."""
    made: dict[tuple[str, tuple[str, ...]], object] = {}

    def edit(model, case, languages):
        key = case.id, tuple(languages)
        if key not in made:
            made[key] = editor.edit(model, case, languages)
        return made[key]

    return dataclasses.replace(editor, edit=edit)


def timed(editor: Editor, seconds: list[float]) -> Editor:
    """The same editor, which records how long each edit takes."""

    def edit(model, case, languages):
        start = time.perf_counter()
        made = editor.edit(model, case, languages)
        seconds.append(time.perf_counter() - start)
        return made

    return dataclasses.replace(editor, edit=edit)


def gated(editor: Editor, gate: Gate) -> Editor:
    """The same edits behind another gate."""

    def edit(model, case, languages):
        (found,) = editor.edit(model, case, languages)
        return cache_of(model, found, gate)

    return dataclasses.replace(editor, edit=edit, options={**editor.options, "gate": gate})


def traced_editors(model, facts: lv.FactSet, cases: lv.EditSet, weight: float) -> dict[str, Editor]:
    """ROME and MEMIT where a change of neurons tells the model most about another subject."""
    subjects = sorted({case.key[0] for case in cases})
    asked = facts.filter(relation="capital", subjects=subjects, languages=cases.languages).prompts()
    known = list(itertools.compress(asked, lv.score_answers(model, asked).known.tolist()))
    trace = lv.trace_subject(model, known, max_pairs=N_TRACED)
    print(trace, trace.place, flush=True)
    layer, position = trace.place
    return {
        "ROME traced": rome(layer=layer, position=position),
        "MEMIT traced": memit(layers=layer, position=position, weight=weight),
    }


def editors(position: str, located: Editor, weight: float) -> dict[str, Editor]:
    """The editors to compare."""
    random = remembered(random_neurons(located))
    at_subject = remembered(language_agnostic(position="subject_last"))
    return {
        "language-agnostic": located,
        "random neurons": random,
        "at the subject": at_subject,
        "random at the subject": random_neurons(at_subject),
        "without the gate": gated(located, gate="none"),
        "by relation": gated(located, gate="relation"),
        "random by relation": gated(random, gate="relation"),
        "ROME at the answer": rome(position="answer"),
        "MEMIT at the answer": memit(position="answer", weight=weight),
        "knowledge neurons": knowledge_neurons(),
        "by attribution": language_agnostic(position=position, locate="attribution"),
        "fine-tuning": fine_tuning(),
        "per language": per_language(position=position),
        "suppressed": scaled(0.0),
        "enhanced": scaled(2.0),
        "ROME": rome(),
        "MEMIT": memit(weight=weight),
        "LU-LAFNs as published": language_agnostic(
            position="subject_last", locate="intersection", divergence=0.0625, **AS_PUBLISHED
        ),
        "ROME as published": rome(prefixes=10, **AS_PUBLISHED),
        "MEMIT as published": memit(prefixes=10, weight=15000, **AS_PUBLISHED),
    }


def agnostic_neurons(model, facts: lv.FactSet, cases: lv.EditSet) -> dict[str, list[Neuron]]:
    """By case: the neurons that are agnostic for its fact, in 3 languages of 2 scripts or more."""
    fact_of = {case.id: f"{case.key[1]}/{case.key[0]}" for case in cases}
    relations, subjects = (sorted({case.key[part] for case in cases}) for part in (1, 0))
    asked = facts.filter(relation=relations, subjects=subjects).prompts()
    scores = lv.attribute(model, asked, position="answer")
    shared = lv.overlap(
        lv.select_neurons(scores, fraction=0.02), min_languages=3, min_scripts=2
    ).agnostic
    return {case: sorted(shared.get(fact, ())) for case, fact in fact_of.items()}


def agnostic_editors(model, neurons: dict[str, list[Neuron]], position: str) -> dict[str, Editor]:
    """Edits on as many neurons of the fact, of the next case's fact, and of the same layers."""
    ids, rng = list(neurons), random.Random(0)
    chosen: dict[str, dict[str, list[Neuron]]] = {}
    for case, other in zip(ids, [*ids[1:], *ids[:1]], strict=True):
        count = min(len(neurons[case]), len(neurons[other]), MANY)
        own = sorted(rng.sample(neurons[case], count))
        chosen[case] = {
            "agnostic neurons": own,
            "another fact's": sorted(rng.sample(neurons[other], count)),
            "random ones": random_like(own, capabilities(model).shape, seed=0),
        }

    def editor(name: str) -> Editor:
        def edit(model, case, languages):
            made = lv.edit_case(
                model, case, languages=languages, neurons=chosen[case.id][name],
                position=position, progress=False,
            )  # fmt: skip
            return lv.EditCache([made])

        return Editor(name, edit, {"position": position})

    sizes = [len(of["agnostic neurons"]) for of in chosen.values()]
    print(f"neurons an edit: {statistics.mean(sizes):.1f}, {min(sizes)} to {max(sizes)}")
    return {name: editor(name) for name in ("agnostic neurons", "another fact's", "random ones")}


def row(name: str, report: lv.Evaluation, evaluator: str) -> dict[str, object]:
    """One row of the table: the means with their intervals, by metric."""
    found = {"editor": name}
    for of in report.summary(evaluator).itertuples():
        found[of.metric] = f"{of.mean:.3f} [{of.low:.3f}, {of.high:.3f}]"
    return found


def moved_on(facts: lv.FactSet, subjects: Sequence[str]) -> lv.EditSet:
    """Cases in which each subject gets the capital of the next."""
    capitals = facts.filter(relation="capital")
    objects = [next(iter(capitals.filter(subjects=x))).object for x in subjects]
    return lv.EditSet(
        tuple(
            lv.counterfactual_case(
                facts, subject=subject, relation="capital", new_object=new, neighbours=3
            )
            for subject, new in zip(subjects, [*objects[1:], objects[0]], strict=True)
        )
    )


def where_known(model, cases: lv.EditSet) -> lv.EditSet:
    """The cases in the languages in which the model gives the old answer to some question."""
    known = []
    for case in cases:
        asked = [dataclasses.replace(x, answer=case.old[x.language]) for x in case.prompts("edit")]
        right = lv.score_answers(model, asked).known.tolist()
        languages = list(dict.fromkeys(x.language for x in itertools.compress(asked, right)))
        print(f"{case.id}: known in {', '.join(languages) or 'no language'}", flush=True)
        known += [case.only(languages)] if languages else []
    return lv.EditSet(tuple(known))


class Bench:
    """The cases, the editor whose edits are shared, and the place of the results."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.model, self.facts = lv.load_model(args.model), lv.load_facts()
        self.cases = (
            moved_on(self.facts, args.subjects)
            if args.subjects
            else lv.counterfactual_cases(self.facts, n=args.edits, seed=args.seed)
        ).filter(languages=args.languages)
        if args.known:
            self.cases = where_known(self.model, self.cases)
        self.located = remembered(language_agnostic(position=args.position))

    def run(self, name: str, editor: Editor, cases: lv.EditSet | None = None, **options):
        file = self.args.out / f"{name.replace(' ', '-')}.jsonl" if self.args.out else None
        return lv.evaluate(self.model, editor, cases or self.cases, file=file, **options)

    def chosen(self, *otherwise: str) -> dict[str, Editor]:
        """The editors that the command line names, or these, or all."""
        every = editors(self.args.position, self.located, self.args.weight)
        wanted = self.args.editors or otherwise or [*every, *TRACED]
        if set(TRACED) & set(wanted):
            every |= traced_editors(self.model, self.facts, self.cases, self.args.weight)
        return {name: every[name] for name in wanted}

    def editors(self) -> None:
        rows = []
        for name, editor in self.chosen().items():
            seconds: list[float] = []
            report = self.run(name, timed(editor, seconds))
            took = {"seconds": round(statistics.median(seconds), 1) if seconds else "-"}
            rows.append(row(name, report, self.args.evaluator) | took)
            print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
        print(f"\n{pd.DataFrame(rows).to_string(index=False)}\n")

    def agnostic(self) -> None:
        neurons = agnostic_neurons(self.model, self.facts, self.cases)
        cases = lv.EditSet(tuple(case for case in self.cases if neurons[case.id]))
        of_cases = {case.id: neurons[case.id] for case in cases}
        rows = []
        for name, editor in agnostic_editors(self.model, of_cases, self.args.position).items():
            report = self.run(name, editor, cases)
            rows.append(row(name, report, self.args.evaluator))
        print(f"{len(cases)} edits\n{pd.DataFrame(rows).to_string(index=False)}\n")

    def at_once(self) -> None:
        rows = []
        chosen = self.chosen("language-agnostic", "ROME at the answer", "MEMIT at the answer")
        for name, editor in chosen.items():
            report = self.run(f"{name} at once", editor, at_once=True)
            rows.append(row(name, report, self.args.evaluator))
        print(f"{len(self.cases)} edits at once\n{pd.DataFrame(rows).to_string(index=False)}\n")

    def neurons(self) -> None:
        rows = []
        for count in self.args.neurons:
            options = {"position": self.args.position, "n_neurons": count}
            located = remembered(language_agnostic(**options))
            for editor in (located, random_neurons(located)):
                report = self.run(f"{count} {editor.name}", editor)
                rows.append({"neurons": count} | row(editor.name, report, self.args.evaluator))
                print(pd.DataFrame(rows[-1:]).to_string(index=False), flush=True)
        print(f"\n{pd.DataFrame(rows).to_string(index=False)}\n")

    def languages(self) -> None:
        cases = self.cases.filter(n=min(len(self.cases), self.args.matrix_edits))
        chosen = self.chosen("language-agnostic", "per language", "ROME at the answer")
        for name, editor in chosen.items():
            report = self.run(f"{name} alone", editor, cases, alone=True)
            for metric in ("reliability", "generality"):
                print(f"{name}, {metric}, {len(cases)} edits")
                print(report.matrix(metric, self.args.evaluator).round(2).to_string())
            print(f"\n{report.conflict(self.args.evaluator).round(3).to_string(index=False)}\n")

    def speed(self) -> None:
        print(speed(self.model, self.facts, self.args.repeat).to_string(index=False))

    def cost(self) -> None:
        print(cost(self.model, self.facts, self.args.position).to_string(index=False))


def caches(facts: lv.FactSet, edit: lv.Edit) -> dict[int, lv.EditCache]:
    """Caches of several sizes with this edit and others, whose subjects have made-up names."""
    subjects = list({fact.subject_id: fact for fact in facts}.values())
    edits = [edit]
    for number in range(max(SIZES)):
        one, other = subjects[number % len(subjects)], subjects[number // len(subjects)]
        names = {x: (f"{name} {other.id} {number}",) for x, name in one.subject.items()}
        edits.append(dataclasses.replace(edit, subject_id=f"{one.id} {number}", names=names))
    return {size: lv.EditCache(edits[:size]) for size in SIZES}


def speed(model, facts: lv.FactSet, repeat: int) -> pd.DataFrame:
    """Milliseconds per token, without edits and by the size of the cache."""
    edit = lv.lafn_edit(
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
                assert len(fired) == 1, "exactly one edit should fire"
    return pd.DataFrame(
        {
            "edits": size,
            "ms per token": round(statistics.median(all_of), 2),
            "times no edits": round(statistics.median(all_of) / statistics.median(took[0]), 2),
            "first search, s": round(first.get(size, 0), 2),
        }
        for size, all_of in took.items()
    )


def cost(model, facts: lv.FactSet, position: str) -> pd.DataFrame:
    """What one edit takes, by how its neurons are located."""
    asked = {"subject": "Japan", "relation": "capital"}
    prompts = facts.filter(relation="capital").filter(subjects="Japan").prompts()
    known = lv.score_answers(model, prompts).known.tolist()
    languages = list(dict.fromkeys(x.language for x in itertools.compress(prompts, known)))
    options = {"new_object": "Rome", "languages": languages, "position": position}
    rows = []
    for locate in ("pruned", "attribution"):
        start = time.perf_counter()
        edit = lv.lafn_edit(model, facts, **asked, **options, locate=locate)
        rows.append(
            {
                "located": locate,
                "languages": len(languages),
                "prompts": len(edit.prompts),
                "seconds": round(time.perf_counter() - start, 1),
                "evaluations": len(edit.curve),
                "loss": round(edit.loss, 3),
                "divergence": round(edit.divergence, 3),
                "peak, GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1),
            }
        )
    return pd.DataFrame(rows)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--subjects", nargs="+", help="whose capitals to edit")
    parser.add_argument("--languages", nargs="+", help="to edit and ask in (default: all)")
    parser.add_argument("--known", action="store_true", help="only where the model knows the fact")
    parser.add_argument("--matrix-edits", type=int, default=12)
    parser.add_argument("--neurons", type=int, nargs="+", default=[10, 20, 40, 100, 640])
    parser.add_argument("--position", default="answer")
    parser.add_argument(
        "--editors",
        nargs="+",
        help="the editors to compare (default: all, and three in the parts at once and languages)",
    )
    parser.add_argument("--weight", type=float, default=10.0, help="of MEMIT's corpus")
    parser.add_argument("--evaluator", default="exact_match")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    bench = Bench(args)
    for part in args.parts:
        getattr(bench, part.replace(" ", "_"))()


if __name__ == "__main__":
    main()
