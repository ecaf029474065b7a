"""`lafn-viz`: thin commands over the public names."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an input that cannot be used gets one sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="lafn-viz", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help="show language-agnostic neurons of the embedded model beside its control"
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for the figures")
    demo.add_argument("--relation", default="capital", help="which facts to look at")
    demo.add_argument("--facts", type=int, default=24, help="how many of them")
    demo.add_argument("--seed", type=int, default=0, help="which ones, and which random neurons")
    gallery = commands.add_parser(
        "gallery", help="draw every figure from results on the embedded model (some minutes)"
    )
    gallery.add_argument("--out", type=Path, default=Path("gallery"), help="folder for the pages")
    gallery.add_argument(
        "--no-png", dest="png", action="store_false", help="no pictures beside the pages"
    )
    _add_sweep(commands)
    lab = commands.add_parser("lab", help="open the notebooks in JupyterLab")
    lab.add_argument(
        "folder",
        type=Path,
        nargs="?",
        help="put copies of the notebooks here and open those (default: the notebooks of this "
        "checkout, or copies in ./lafn_viz_notebooks); a file that is there is left as it is",
    )
    app = commands.add_parser("app", help="serve the explorers as one page")
    for command, usual in ((lab, "8888"), (app, "8866")):
        command.add_argument("--port", type=int, help=f"default: {usual}, or a free one")
        command.add_argument(
            "--no-browser",
            dest="browser",
            action="store_false",
            help="only print the address",
        )
    app.add_argument(
        "--host", default="127.0.0.1", help="where to listen (default: this computer alone)"
    )
    app.add_argument(
        "--no-token",
        dest="token",
        action="store_false",
        help="let everybody in who can reach the page",
    )
    app.add_argument(
        "--theme",
        choices=("auto", "light", "dark"),
        default="auto",
        help="colours (default: as the system has them)",
    )
    options = vars(parser.parse_args(arguments))
    runs: dict[str, Callable[..., int]] = {
        "demo": _demo,
        "gallery": _gallery,
        "sweep": _sweep,
        "lab": _lab,
        "app": _app,
    }
    try:
        return runs[options.pop("command")](**options)
    except (ValueError, FileNotFoundError, ImportError) as error:
        print(f"lafn-viz: {error}", file=sys.stderr)
        return 2


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="attribute, compare and change the neurons of many facts, and try edits; called again "
        "with the same folder it goes on where it was",
    )
    add = sweep.add_argument
    add("--out", type=Path, required=True, help="folder for the results")
    add(
        "--model",
        action="append",
        dest="models",
        metavar="MODEL",
        help="name or folder (default: embedded); given several times, each gets a folder in OUT",
    )
    what = sweep.add_argument_group("what to look at")
    add = what.add_argument
    add("--relation", nargs="+", help="facts of these relations (default: all)")
    add("--languages", nargs="+", help="in these languages (default: all)")
    add("--facts", type=int, metavar="N", help="so many of them, drawn (default: all)")
    add(
        "--file",
        type=Path,
        nargs=2,
        metavar=("FACTS", "PARAPHRASES"),
        help="your own facts, as two files of JSON lines (default: the embedded facts)",
    )
    add("--edits", type=int, default=0, metavar="N", help="give so many facts another object")
    add("--cases", type=Path, metavar="FILE", help="try the edits of a benchmark's file")
    how = sweep.add_argument_group("what to do")
    add = how.add_argument
    add("--methods", nargs="+", default=["integrated_gradients"], help="of attribution")
    add("--n-steps", default="auto", help="points of a path, or auto (default)")
    add("--fraction", type=float, default=0.02, help="of all neurons, kept for each prompt")
    add("--min-languages", type=int, default=4, help="from which on a neuron counts as agnostic")
    add("--top", type=int, default=100, help="how many scores of a prompt are kept")
    add("--dense", action="store_true", help="keep all scores, too")
    add(
        "--changed",
        nargs="*",
        default=["agnostic"],
        help="which neurons to change and measure: agnostic, languages (none: nothing is changed)",
    )
    add("--editors", nargs="+", default=["language_agnostic"], help="names of lv.baselines")
    add("--alone", action="store_true", help="edit in each language alone, too")
    add("--seed", type=int, default=0, help="of the facts drawn, the edits and random neurons")
    add("--per-shard", type=int, default=32, help="facts of a relation in one file")
    add("--retry", action="store_true", help="do again what failed")
    where = sweep.add_argument_group("where to do it")
    add = where.add_argument
    add("--backend", default="local", help="local (default) or ray")
    add("--workers", type=int, help="on Ray (default: one a GPU, or one a CPU)")
    add("--address", help="of a Ray cluster; auto for the one of this machine")
    add("--device", help="cpu or cuda (default: a GPU if there is one)")
    add("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    add("--max-rows", type=int, default=256, help="rows in memory at once")


def _sweep(
    out: Path,
    models: list[str] | None,
    relation: list[str] | None,
    languages: list[str] | None,
    facts: int | None,
    file: list[Path] | None,
    edits: int,
    cases: Path | None,
    n_steps: Any,
    fraction: float,
    editors: list[str],
    dtype: str,
    seed: int,
    **options: Any,
) -> int:
    import torch

    import lafn_viz as lv
    from lafn_viz.core.options import require_one_of

    every = lv.load_facts() if file is None else lv.load_facts(*file)
    chosen = every.filter(relation=relation, languages=languages)
    chosen = chosen if facts is None else chosen.sample(facts, seed=seed)
    tried: tuple[lv.EditCase, ...] = ()
    if cases is not None:
        tried += tuple(lv.load_edit_cases(cases))
    if edits:
        made = lv.counterfactual_cases(every, relation=relation, n=edits, seed=seed)
        tried += tuple(made if languages is None else made.filter(languages=languages))
    offered = ("language_agnostic", "random_neurons", "per_language", "knowledge_neurons",
               "fine_tuning", "rome", "memit")  # fmt: skip
    named = []
    for name in require_one_of("editor", editors, offered):
        make = getattr(lv.baselines, name)
        named.append(make(lv.baselines.language_agnostic()) if name == offered[1] else make())
    several = models is not None and len(models) > 1
    for model in models or ["embedded"]:
        place = out / Path(model).name if several else out
        try:
            store = lv.sweep(
                model, chosen, place, cases=tried, select={"fraction": fraction}, editors=named,
                n_steps=int(n_steps) if n_steps.isdigit() else n_steps,
                dtype=getattr(torch, dtype), seed=seed, **options,
            )  # fmt: skip
        except KeyboardInterrupt:
            print(f"stopped; {place} has what was finished, the same command goes on there")
            return 130
        print(f"\n{store!r}")
        for of, table in store.summary().groupby("of", sort=False):
            print(f"\n{of}: mean and 95% interval")
            width = table["figure"].str.len().max()
            for row in table.to_dict("records"):
                interval = f"[{row['low']:.3f}, {row['high']:.3f}]"
                told = "[-]" if math.isnan(row["low"]) else interval
                print(f"  {row['figure']:<{width}}{row['mean']:8.3f}  {told}  of {row['items']}")
        failures = store.failures
        if len(failures):
            print(
                f"\n{failures['item'].nunique()} items failed; the first: "
                f"{failures['item'][0]}, {failures['stage'][0]}: {failures['reason'][0]}"
            )
    return 0


def _lab(**options: Any) -> int:
    from lafn_viz.app.serving import serve_lab

    serve_lab(**options)
    return 0


def _app(**options: Any) -> int:
    from lafn_viz.app.serving import serve_app

    serve_app(**options, say=partial(print, flush=True))
    return 0


def _demo(out: Path, relation: str, facts: int, seed: int) -> int:
    import lafn_viz as lv
    from lafn_viz import plots
    from lafn_viz.experiments.examine import comparison_text

    chosen = lv.load_facts().filter(relation=relation, leaking=False).sample(facts, seed=seed)
    _make_folder(out)
    examinations = {}
    for name in ("embedded", "embedded-control"):
        print(f"{name}: {facts} facts of {relation!r} in {len(chosen.languages)} languages")
        examinations[name] = lv.examine(lv.load_model(name), chosen, seed=seed, progress=True)
    print(f"\n{comparison_text(examinations)}\n")
    main_model = examinations["embedded"]
    fact = max(main_model.overlap.facts, key=lambda name: len(main_model.overlap.agnostic[name]))
    if "capital/FR" in main_model.overlap.facts:
        fact = "capital/FR"
    figures = {
        "overlap": plots.overlap_heatmap(main_model.overlap),
        "overlap-control": plots.overlap_heatmap(examinations["embedded-control"].overlap),
        "models": plots.model_comparison(
            {
                f"{name}, {pairs}": examination.overlap.summary(across_scripts=across)
                for name, examination in examinations.items()
                for pairs, across in (("all pairs", False), ("across scripts", True))
            }
        ),
        "layers": plots.layer_distribution(main_model.overlap),
        "fact": plots.attribution_strip(
            main_model.scores.select(lambda prompt: prompt.fact_id == fact),
            agnostic=main_model.overlap.agnostic[fact],
        ),
    }
    for name, figure in figures.items():
        # One copy of plotly.js beside the pages: they open without a network.
        figure.write_html(out / f"{name}.html", include_plotlyjs="directory", config=plots.CONFIG)
    print(f"{len(figures)} figures in {out.resolve()}:")
    for name in figures:
        print(f"  {out / name}.html")
    return 0


def _make_folder(out: Path) -> None:
    """Before minutes of work, not after them."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{out} cannot be a folder for results ({error.strerror}); give another with --out"
        ) from None


def _gallery(out: Path, png: bool) -> int:
    from lafn_viz.app.gallery import gallery

    _make_folder(out)
    made = gallery(out, png=png, progress=True)
    if made.without_pictures:
        print(f"lafn-viz: {made.without_pictures}", file=sys.stderr)
    print(f"{len(made.pages)} figures: {made.index}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
