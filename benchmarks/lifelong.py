"""A thousand edits one after the other: does the last one hold, the first one still, and the rest?

    python benchmarks/lifelong.py build/lifelong --editors cache  # an hour or more each
    python benchmarks/lifelong.py build/lifelong --editors MEMIT
    python benchmarks/lifelong.py build/lifelong --draw           # the figure, from what is there

Half a thousand facts of all relations get new objects, then other ones, and so on. Each edit is
made on the model as the edits before it left it: those of LU-LAFNs go into one cache, where a later
edit of a fact replaces the earlier one; MEMIT's changes of the weights add up. The cache is asked
twice, as it is and with a gate for each relation (`lv.gate_by_relation`): with so many edits, most
facts that nobody edits are about a subject that somebody does.

After each hundred edits, four things are asked in all languages, in wordings that no edit used:
the newest edits, the first ones that no later edit replaced, facts that no edit touches (is the
answer still right, of those that were right before?), and how far the distribution of the first
answer token moved on these (nats). Shares are means over facts with 95% intervals.

The folder holds every result and the state after every `SAVE_EVERY` edits; the same command goes on
from there.
"""

import argparse
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from safetensors.torch import load_file, save_file

import lafn_viz as lv
from lafn_viz.core.files import whole_folder
from lafn_viz.core.stats import bootstrap
from lafn_viz.editing.baselines.rome_memit import memit
from lafn_viz.editing.baselines.weight_edits import WeightEdit
from lafn_viz.plots.style import LEGEND_ABOVE, band, curve, styled

N_FACTS, ASKED, EVERY, SAVE_EVERY = 500, 24, 100, 20
KINDS = ("newest edits", "first edits", "untouched facts")
DIVERGENCE = "divergence on untouched facts"
PANELS = (*KINDS, DIVERGENCE)
COLOURS = {"LU-LAFNs": "#0072b2", "LU-LAFNs by relation": "#009e73", "MEMIT": "#d55e00"}
Ways = dict[str, Callable[[], AbstractContextManager[Any]]]


def sequence(facts: lv.FactSet, count: int) -> list[lv.EditCase]:
    """The edits in order: the same facts again and again, each time with another object."""
    first = list(lv.counterfactual_cases(facts, relation=None, n=N_FACTS, neighbours=0))
    keys, now = {case.key for case in first}, {case.key: case.new for case in first}
    cases, seed = first, 0
    while len(cases) < count:
        seed += 1
        for case in lv.counterfactual_cases(
            facts, relation=None, n=N_FACTS, neighbours=0, seed=seed
        ):
            if case.key in keys and case.new != now[case.key]:
                now[case.key] = case.new
                cases.append(case)
    return cases[:count]


class CacheEdits:
    """LU-LAFNs: one cache; the weights never change."""

    def __init__(self, folder: Path) -> None:
        place = folder / "cache"
        self.cache = lv.EditCache.load(place) if place.exists() else lv.EditCache()

    def add(self, model: Any, case: lv.EditCase) -> None:
        """Make an edit and put it into the cache, in place of an earlier one of its fact."""
        edit = lv.edit_case(model, case, position="answer", progress=False)
        self.cache.add(edit, replace=True)

    def ways(self, model: Any) -> Ways:
        """The model with all edits, without and with gates."""
        gated = lv.gate_by_relation(model, self.cache)
        return {
            "LU-LAFNs": lambda: self.cache.applied(model),
            "LU-LAFNs by relation": lambda: gated.applied(model),
        }

    def save(self, folder: Path) -> None:
        """Write the cache."""
        self.cache.save(folder / "cache")


class MemitEdits:
    """MEMIT at the answer, each edit on the weights that the last one left."""

    def __init__(self, folder: Path, corpus: Sequence[lv.Prompt], weight: float) -> None:
        place = folder / "change.safetensors"
        self.total = load_file(place)["change"] if place.exists() else None
        self.editor = memit(position="answer", weight=weight, corpus=corpus)

    def add(self, model: Any, case: lv.EditCase) -> None:
        """Make an edit on the edited model, and add its change."""
        with self._applied(model):
            made = self.editor.edit(model, case, case.languages)
        assert isinstance(made, WeightEdit)
        change = made.changes[0]
        self.total = change if self.total is None else self.total + change

    def ways(self, model: Any) -> Ways:
        """The model with all edits."""
        return {"MEMIT": lambda: self._applied(model)}

    def _applied(self, model: Any) -> AbstractContextManager[Any]:
        return WeightEdit({} if self.total is None else {0: self.total}).applied(model)

    def save(self, folder: Path) -> None:
        """Write the sum of the changes."""
        assert self.total is not None
        save_file({"change": self.total.contiguous()}, folder / "change.safetensors")


class Score:
    """What is asked after each hundred edits, and how it was answered before the first."""

    def __init__(self, model: Any, facts: lv.FactSet, cases: Sequence[lv.EditCase]) -> None:
        self.model, self.cases = model, cases
        edited = {case.key for case in cases}
        rest = [fact for fact in facts if (fact.subject_id, fact.relation) not in edited]
        chosen = random.Random(0).sample(rest, ASKED)
        prompts = [
            prompt
            for fact in chosen
            for prompt in facts.filter(relation=fact.relation, subjects=fact.subject_id).prompts()
            if prompt.split == "held-out paraphrase"
        ]
        known = lv.score_answers(model, prompts).known.tolist()
        self.untouched = [prompt for prompt, yes in zip(prompts, known, strict=True) if yes]
        self.before = self._first_tokens(self.untouched)

    def __call__(self, done: int, ways: Ways) -> Iterator[dict[str, Any]]:
        """One row for each way to apply all edits so far, and kind of question."""
        last = {case.key: number for number, case in enumerate(self.cases[:done])}
        in_force = [case for i, case in enumerate(self.cases[:done]) if last[case.key] == i]
        asked = {
            "newest edits": [p for case in in_force[-ASKED:] for p in case.prompts("rephrased")],
            "first edits": [p for case in in_force[:ASKED] for p in case.prompts("rephrased")],
            "untouched facts": self.untouched,
        }
        for name, applied in ways.items():
            about = {"edits": done, "editor": name}
            with applied():
                for kind, prompts in asked.items():
                    known = lv.score_answers(self.model, prompts).known.float().numpy()
                    yield about | {"asked": kind} | _over_facts(prompts, known)
                after = self._first_tokens(self.untouched)
            moved = (self.before.exp() * (self.before - after)).sum(1).numpy()
            mean = _over_facts(self.untouched, moved, limits=(0.0, math.inf))
            yield about | {"asked": DIVERGENCE} | mean

    def _first_tokens(self, prompts: Sequence[lv.Prompt]) -> torch.Tensor:
        """Log-probabilities of the token after each prompt."""
        rows = []
        with torch.no_grad():
            for prompt in prompts:
                tokens = self.model.tokenizer(prompt.full_text, return_tensors="pt")["input_ids"]
                rows.append(self.model.original_model(tokens).logits[0, -1].log_softmax(-1))
        return torch.stack(rows)


def _over_facts(
    prompts: Sequence[lv.Prompt],
    values: np.ndarray,
    limits: tuple[float, float] = (0.0, 1.0),
) -> dict[str, Any]:
    """The mean of the facts' means, with its interval."""
    ids = np.array([prompt.fact_id for prompt in prompts])
    means = np.array([values[ids == name].mean() for name in dict.fromkeys(ids)])
    low, high = bootstrap(means, limits=limits)
    return {"value": float(means.mean()), "low": low, "high": high, "facts": len(means)}


def draw(folder: Path) -> go.Figure:
    """A panel for each question, with a line for each editor, by the number of edits."""
    places = sorted(folder.glob("*/scores.json"))
    rows = pd.DataFrame(
        [row for place in places for row in json.loads(place.read_text("utf-8"))["scores"]]
    )
    figure = make_subplots(rows=2, cols=2, subplot_titles=PANELS, vertical_spacing=0.14)
    for number, kind in enumerate(PANELS):
        place = {"row": number // 2 + 1, "col": number % 2 + 1}
        for name, part in rows[rows["asked"] == kind].groupby("editor"):
            x, low, high = part["edits"], part["low"], part["high"]
            figure.add_trace(
                band(x, low, high, COLOURS[name], legendgroup=name, showlegend=False), **place
            )
            hover = "after %{x:,} edits: %{y:.3f}"
            shown = not number
            line = curve(x, part["value"], COLOURS[name], name=name, hover=hover, showlegend=shown)
            figure.add_trace(line, **place)
        share = {"range": [0, 1.02], "tickformat": ".0%"}
        figure.update_yaxes(**({"title": "nats"} if kind == DIVERGENCE else share), **place)
    figure.update_xaxes(title_text="edits made", row=2)
    figure = styled(
        figure,
        title="Edits one after the other: what holds",
        caption="Share of held-out wordings answered right, and how far the next token's "
        "distribution has moved.<br>Means over facts with 95% intervals. Model: embedded.",
        height=640,
    )
    return figure.update_layout(legend=LEGEND_ABOVE | {"y": 1.06}, margin_t=150)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--editors", nargs="+", choices=("cache", "MEMIT"), default=[])
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--every", type=int, default=EVERY, help="edits between scores")
    parser.add_argument("--weight", type=float, default=100.0, help="of MEMIT's corpus")
    parser.add_argument("--draw", action="store_true", help="write figure.html")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    for name in args.editors:
        run(args, args.folder / name, name)
    if args.draw:
        draw(args.folder).write_html(args.folder / "figure.html")


def run(args: argparse.Namespace, folder: Path, name: str) -> None:
    """Make the edits that are missing, and score after every hundred.

    Edits, their number and all scores are written together, or not at all.
    """
    model, facts = lv.load_model("embedded"), lv.load_facts().filter(leaking=False)
    cases = sequence(facts, args.edits)
    prompts = facts.prompts()
    edits: CacheEdits | MemitEdits = (
        CacheEdits(folder)
        if name == "cache"
        else MemitEdits(folder, prompts[:: len(prompts) // 240], args.weight)
    )
    score = Score(model, facts, cases)
    state = folder / "scores.json"
    done = json.loads(state.read_text("utf-8")) if state.exists() else {"edits": 0, "scores": []}
    for number, case in enumerate(cases[done["edits"] :], done["edits"] + 1):
        edits.add(model, case)
        scored = number % args.every == 0 or number == len(cases)
        if scored:
            rows = list(score(number, edits.ways(model)))
            done["scores"] += rows
            print(*rows, sep="\n", flush=True)
        if scored or number % SAVE_EVERY == 0:
            done["edits"] = number
            with whole_folder(folder) as new:
                edits.save(new)
                (new / "scores.json").write_text(json.dumps(done, indent=1), "utf-8")


if __name__ == "__main__":
    main()
