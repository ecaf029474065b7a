"""`lafn-viz report` and `atlas`: results as pages that can be sent."""

import sys
from pathlib import Path
from typing import Any


def add_report(commands: Any) -> None:
    """Add `lafn-viz report`."""
    report = commands.add_parser(
        "report", help="write results as one page that can be sent: a sweep, evaluations, passports"
    )
    report.add_argument(
        "results", nargs="+", type=Path,
        help="the folder of a sweep; files of evaluations (JSON lines); or passports (JSON)",
    )  # fmt: skip
    add = report.add_argument
    add("--out", type=Path, required=True, help="file for the page (.html)")
    add("--title", help="title of the page (default: one that fits the results)")
    report.set_defaults(run=_report)


def _report(results: list[Path], out: Path, title: str | None) -> int:
    import lafn_viz as lv

    page = lv.report(results, out, title=title)
    print(f"{page.resolve()}: {page.stat().st_size / 1e6:.1f} MB")
    return 0


def add_atlas(commands: Any) -> None:
    """Add `lafn-viz atlas`."""
    atlas = commands.add_parser(
        "atlas", help="write a site about several sweeps: a page for each fact, neuron and relation"
    )
    atlas.add_argument("stores", nargs="+", type=Path, help="folders of sweeps")
    add = atlas.add_argument
    add("--out", type=Path, required=True, help="folder for the site")
    add(
        "--neurons", type=int, default=200, metavar="N",
        help="pages for the N neurons of each model that most facts share (default: 200)",
    )  # fmt: skip
    add(
        "--no-tokens", dest="tokens", action="store_false",
        help="do not load the models to read which tokens the neurons promote",
    )  # fmt: skip
    add("--title", help="title of the site")
    atlas.set_defaults(run=_atlas)


def _atlas(stores: list[Path], out: Path, **options: Any) -> int:
    import lafn_viz as lv

    made = lv.atlas(stores, out, progress=True, **options)
    for label, reason in made.without_tokens.items():
        print(f"lafn-viz: no tokens of {label}: {reason}", file=sys.stderr)
    print(f"{made.pages:,} pages, {made.size / 1e6:.1f} MB: {made.index}")
    return 0
