"""`lafn-viz sweep`: measure many facts, with all options of a plan."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lafn_viz.cli.arguments import add_files, facts_in

if TYPE_CHECKING:
    import lafn_viz as lv

EDITORS = (
    "language_agnostic", "random_neurons", "per_language", "knowledge_neurons", "fine_tuning",
    "rome", "memit",
)  # fmt: skip
INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it


def add_sweep(commands: Any) -> None:
    """Add `lafn-viz sweep`."""
    sweep = commands.add_parser(
        "sweep",
        help="attribute, compare and ablate the neurons of many facts, and try edits; run again "
        "with the same folder, it resumes",
        argument_default=argparse.SUPPRESS,  # the defaults are those of the functions called
    )
    add = sweep.add_argument
    add("--out", type=Path, required=True, help="folder for the results")
    add(
        "--model", action="append", dest="models", metavar="MODEL",
        help="name or folder (default: embedded); repeat it for several models, each of which gets "
        "its own folder in OUT",
    )  # fmt: skip
    items = sweep.add_argument_group("facts and edits")
    add = items.add_argument
    add("--relation", nargs="+", help="use facts of these relations (default: all)")
    add("--languages", nargs="+", help="use these languages (default: all)")
    add(
        "--facts", "--sample", type=int, metavar="N", dest="facts",
        help="draw N of the facts (default: use all)",
    )  # fmt: skip
    add(
        "--known-only", action="store_true",
        help="attribute and measure a fact only in the languages in which the model knows it",
    )  # fmt: skip
    add("--shots", type=int, help="examples before each question (default: 0)")
    add(
        "--select-on", type=int, nargs="+", metavar="N",
        help="paraphrases that choose neurons; the others measure (default: those that the model "
        "was trained on)",
    )  # fmt: skip
    add_files(add)
    add("--edits", type=int, metavar="N", help="give N facts another object (default: 0)")
    add("--cases", type=Path, metavar="FILE", help="try the edits of a benchmark's file")
    plan = sweep.add_argument_group("what to find out")
    add = plan.add_argument
    add(
        "--methods", nargs="+",
        help="methods of attribution (default: integrated_gradients)",
    )  # fmt: skip
    add(
        "--position",
        help="where neurons are attributed and ablated: all, from_subject, subject_last or answer "
        "(default: all)",
    )
    add(
        "--baseline",
        help="where integrated_gradients and direct_effect begin: auto, zero, mean or other_facts "
        "(default: auto)",
    )
    add("--n-steps", type=_steps, help="points of an attribution path, or auto (default: auto)")
    add("--fraction", type=float, help="share of all neurons kept per prompt (default: 0.02)")
    add(
        "--min-languages", type=int,
        help="number of languages from which on a neuron counts as agnostic (default: 4)",
    )  # fmt: skip
    add(
        "--min-scripts", type=int,
        help="number of scripts in which these languages are written, at least (default: 3)",
    )  # fmt: skip
    add("--top", type=int, help="number of highest scores kept per prompt (default: 100)")
    add("--dense", action="store_true", help="keep all scores, too")
    add(
        "--changed", nargs="*",
        help="neurons to ablate before measuring held-out paraphrases: without (those found "
        "without the language), own, agnostic, languages, or none if no name follows (default: "
        "without own)",
    )  # fmt: skip
    add(
        "--how", nargs="+",
        help="values that ablated neurons get: mean (of other facts), zero, resample (default: "
        "mean zero)",
    )  # fmt: skip
    add(
        "--no-lens", action="store_false", dest="lens",
        help="do not read in which language each layer names the answer",
    )  # fmt: skip
    add("--editors", nargs="+", help="names of lv.baselines (default: language_agnostic)")
    add("--alone", action="store_true", help="edit in each language alone, too")
    add("--seed", type=int, help="seed of the facts drawn, the edits and the random neurons")
    add("--per-shard", type=int, help="facts of a relation per file (default: 32)")
    add("--max-rows", type=int, help="rows in memory at once (default: 256)")
    run = sweep.add_argument_group("how to run it")
    add = run.add_argument
    add("--retry", action="store_true", help="do again what failed, or was mended since")
    add("--backend", help="local or ray (default: local)")
    add("--workers", type=int, help="workers on Ray (default: one per GPU, or one per CPU)")
    add("--address", help="address of a Ray cluster; auto for the one on this machine")
    add("--device", help="cpu or cuda (default: a GPU if there is one)")
    add(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="number type of the model (default: float32)",
    )
    sweep.set_defaults(run=_sweep)


def _steps(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _sweep(
    out: Path,
    *,
    models: Sequence[str] = ("embedded",),
    relation: list[str] | None = None,
    languages: list[str] | None = None,
    facts: int | None = None,
    file: Sequence[Path] | None = None,
    edits: int = 0,
    cases: Path | None = None,
    editors: Sequence[str] = ("language_agnostic",),
    seed: int = 0,
    dtype: str = "float32",
    **options: Any,
) -> int:
    import torch

    import lafn_viz as lv
    from lafn_viz.experiments.plan import Plan, PlanOptions

    all_facts = facts_in(file)
    chosen = all_facts.filter(relation=relation, languages=languages)
    if facts is not None:
        chosen = chosen.sample(facts, seed=seed)
    edit_cases = [] if cases is None else list(lv.load_edit_cases(cases))
    if edits:
        drawn = lv.counterfactual_cases(all_facts, relation=relation, n=edits, seed=seed)
        edit_cases += drawn if languages is None else drawn.filter(languages=languages)
    if "fraction" in options:
        options["select"] = {"fraction": options.pop("fraction")}
    plan_names = PlanOptions.__annotations__.keys() & options.keys()
    plan_options: Any = {name: options.pop(name) for name in plan_names}
    plan = Plan().with_options(seed=seed, editors=_editors(editors), **plan_options)
    for model in models:
        folder = out / Path(model).name if len(models) > 1 else out
        try:
            store = lv.sweep(
                model, chosen, folder, cases=edit_cases, examples=all_facts, plan=plan,
                dtype=getattr(torch, dtype), **options,
            )  # fmt: skip
        except KeyboardInterrupt:
            print(f"stopped; {folder} keeps what was finished, and the same command resumes it")
            return INTERRUPTED
        _print_store(store)
    return 0


def _editors(names: Sequence[str]) -> "list[lv.Editor]":
    import lafn_viz as lv
    from lafn_viz.core.options import require_one_of

    editors = []
    for name in require_one_of("editor", names, EDITORS):
        make = getattr(lv.baselines, name)
        # The random neurons are as many as those of the editor that they stand beside.
        random = name == "random_neurons"
        editors.append(make(lv.baselines.language_agnostic()) if random else make())
    return editors


def _print_store(store: "lv.Store") -> None:
    from lafn_viz.experiments.store_summary import summary_text

    print(f"\n{store!r}")
    print(summary_text(store.summary()), end="")
    failures = store.failures
    if len(failures):
        first = failures.iloc[0]
        print(
            f"\n{failures['item'].nunique()} items failed; the first: "
            f"{first['item']}, {first['stage']}: {first['reason']}"
        )
