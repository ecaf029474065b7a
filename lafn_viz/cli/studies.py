"""`lafn-viz demo`, `evidence` and `gallery`: what the package finds, in a table and in figures."""

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

from lafn_viz.cli.arguments import make_folder

DEMO_MODELS = ("embedded", "embedded-control")


def add_demo(commands: Any) -> None:
    """Add `lafn-viz demo`."""
    demo = commands.add_parser(
        "demo", help="show language-agnostic neurons of the embedded model beside its control"
    )
    add = demo.add_argument
    add("--out", type=Path, default=Path("demo"), help="folder for the figures (default: demo)")
    add("--relation", default="capital", help="relation of the facts (default: capital)")
    add("--facts", type=int, default=24, help="number of facts, drawn at random (default: 24)")
    add("--seed", type=int, default=0, help="seed of the facts drawn and of the random neurons")
    demo.set_defaults(run=_demo)


def _demo(out: Path, relation: str, facts: int, seed: int) -> int:
    import lafn_viz as lv
    from lafn_viz.app.demo import demo_figures
    from lafn_viz.experiments.figures import comparison_text
    from lafn_viz.plots.pages import write_page

    chosen = lv.load_facts().filter(relation=relation, leaking=False).sample(facts, seed=seed)
    make_folder(out)
    examinations = {}
    for name in DEMO_MODELS:
        print(f"{name}: {facts} facts of {relation!r} in {len(chosen.languages)} languages")
        examinations[name] = lv.examine(lv.load_model(name), chosen, seed=seed, progress=True)
    tables = {name: found.to_frame() for name, found in examinations.items()}
    print(f"\n{comparison_text(tables)}\n")
    figures = demo_figures(examinations)
    for name, figure in figures.items():
        write_page(figure, out, name)
    print(f"{len(figures)} figures in {out.resolve()}:")
    for name in figures:
        print(f"  {out / name}.html")
    return 0


def add_evidence(commands: Any) -> None:
    """Add `lafn-viz evidence`."""
    evidence = commands.add_parser(
        "evidence",
        help="choose how to find language-agnostic neurons on half of the facts that a model knows "
        "in many languages, and report on the other half",
        argument_default=argparse.SUPPRESS,  # the defaults are those of `evidence`
    )
    add = evidence.add_argument
    add("--model", required=True, help="name or folder")
    add("--out", type=Path, required=True, help="file for the results (JSON)")
    add(
        "--relation", nargs="+", default=["capital"],
        help="use facts of these relations (default: capital)",
    )  # fmt: skip
    add("--languages", nargs="+", default=None, help="use these languages (default: all)")
    add("--shots", type=int, help="examples before each question (default: 0)")
    add(
        "--paraphrases", type=int, nargs="+", metavar="N",
        help="ask only these paraphrases (default: all)",
    )  # fmt: skip
    add(
        "--select-on", type=int, nargs="+", metavar="N",
        help="paraphrases that choose neurons; the others measure (default: all do both)",
    )  # fmt: skip
    add("--position", help="where neurons are scored and changed (default: answer)")
    add("--facts", type=int, dest="n_facts", metavar="N", help="use N of the facts known")
    add("--seed", type=int, help="seed of the halves and of the random neurons (default: 0)")
    evidence.set_defaults(run=_evidence)


def _evidence(
    model: str, out: Path, *, relation: list[str], languages: list[str] | None, **options: Any
) -> int:
    import lafn_viz as lv

    facts = lv.load_facts().filter(relation=relation, languages=languages, leaking=False)
    make_folder(out.parent)
    found = lv.evidence(lv.load_model(model), facts, examples=facts, progress=True, **options)
    lv.save_evidence(found, out)
    print(f"\n{found.to_text()}\n\n{out.resolve()}")
    return 0


def add_gallery(commands: Any) -> None:
    """Add `lafn-viz gallery`."""
    gallery = commands.add_parser(
        "gallery", help="draw every figure from results on the embedded model (takes minutes)"
    )
    add = gallery.add_argument
    add("--out", type=Path, default=Path("gallery"), help="folder for the pages (default: gallery)")
    add("--no-png", dest="png", action="store_false", help="write the pages without pictures")
    gallery.set_defaults(run=_gallery)


def _gallery(out: Path, png: bool) -> int:
    from lafn_viz.app.gallery import gallery
    from lafn_viz.core.skipped import SkippedWarning

    make_folder(out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkippedWarning)  # printed below, one a line
        made = gallery(out, png=png, progress=True)
    for name, reason in made.left_out.items():
        print(f"lafn-viz: {name} is left out: {reason}", file=sys.stderr)
    if made.without_pictures:
        print(f"lafn-viz: {made.without_pictures}", file=sys.stderr)
    print(f"{len(made.pages)} figures: {made.index}")
    return 1 if made.left_out else 0
