"""`lafn-viz`: thin commands over the public names."""

import argparse
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
        "lab": _lab,
        "app": _app,
    }
    try:
        return runs[options.pop("command")](**options)
    except (ValueError, FileNotFoundError) as error:
        print(f"lafn-viz: {error}", file=sys.stderr)
        return 2


def _lab(**options: Any) -> int:
    from lafn_viz.serving import serve_lab

    serve_lab(**options)
    return 0


def _app(**options: Any) -> int:
    from lafn_viz.serving import serve_app

    serve_app(**options, say=partial(print, flush=True))
    return 0


def _demo(out: Path, relation: str, facts: int, seed: int) -> int:
    import lafn_viz as lv
    from lafn_viz import plots
    from lafn_viz.demo import examine

    chosen = lv.load_facts().filter(relation=relation, leaking=False).sample(facts, seed=seed)
    found = {}
    for name in ("embedded", "embedded-control"):
        print(f"{name}: {facts} facts of {relation!r} in {len(chosen.languages)} languages")
        found[name] = examine(lv.load_model(name), chosen, seed=seed, progress=True)
    tables = {name: one.to_frame() for name, one in found.items()}
    width = max(len(row) for row in tables["embedded"].index)
    print("\n" + " " * width + "".join(f"{name:>26}" for name in found))
    for row in tables["embedded"].index:
        cells = [_cell(row, *table.loc[row]) for table in tables.values()]
        print(f"{row:<{width}}" + "".join(f"{cell:>26}" for cell in cells))
    print("(mean and 95% interval over facts; effects on paraphrases that chose no neuron)\n")
    main_model = found["embedded"]
    fact = max(main_model.overlap.facts, key=lambda name: len(main_model.overlap.agnostic[name]))
    if "capital/FR" in main_model.overlap.facts:
        fact = "capital/FR"
    figures = {
        "overlap": plots.overlap_heatmap(main_model.overlap),
        "overlap-control": plots.overlap_heatmap(found["embedded-control"].overlap),
        "models": plots.model_comparison(
            {
                f"{name}, {pairs}": one.overlap.summary(across_scripts=across)
                for name, one in found.items()
                for pairs, across in (("all pairs", False), ("across scripts", True))
            }
        ),
        "layers": plots.layer_distribution(main_model.overlap),
        "fact": plots.attribution_strip(
            main_model.scores.select(lambda prompt: prompt.fact_id == fact),
            agnostic=main_model.overlap.agnostic[fact],
        ),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        # One copy of plotly.js beside the pages: they open without a network.
        figure.write_html(out / f"{name}.html", include_plotlyjs="directory", config=plots.CONFIG)
    print(f"{len(figures)} figures in {out.resolve()}:")
    for name in figures:
        print(f"  {out / name}.html")
    return 0


def _gallery(out: Path, png: bool) -> int:
    from lafn_viz.gallery import gallery

    made = gallery(out, png=png, progress=True)
    if made.without_pictures:
        print(f"lafn-viz: {made.without_pictures}", file=sys.stderr)
    print(f"{len(made.pages)} figures: {made.index}")
    return 0


def _cell(row: str, value: float, low: float, high: float) -> str:
    if row == "prompts answered":
        return f"{value:.1%}"
    form = "{:+.1%}" if row.startswith("P(correct)") else "{:.3f}"
    if row.startswith("agnostic"):
        form = "{:.1f}"
    if value != value:
        return "no such neurons"
    return f"{form} [{form}, {form}]".format(value, low, high)


if __name__ == "__main__":
    raise SystemExit(main())
