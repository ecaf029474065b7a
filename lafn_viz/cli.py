"""`lafn-viz`: thin commands over the public names."""

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lafn_viz.app.addresses import others_can_read
from lafn_viz.app.serving import APP_PORT, LAB_PORT
from lafn_viz.core.provenance import PACKAGE_VERSION

if TYPE_CHECKING:
    import lafn_viz as lv
    from lafn_viz.interventions.activation_patching import Place

DEMO_MODELS = ("embedded", "embedded-control")
EDITORS = (
    "language_agnostic", "random_neurons", "per_language", "knowledge_neurons", "fine_tuning",
    "rome", "memit",
)  # fmt: skip
# The editors of `lafn-viz edit`, and the options that each takes.
EDIT_OPTIONS = {
    "language_agnostic": ("n_neurons", "layers", "position", "gate"),
    "memit": ("layers", "position"),
    "rome": ("layers", "position"), "fine_tuning": ("layers",),
}  # fmt: skip
INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; input that cannot be used is answered with one sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="lafn-viz", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {PACKAGE_VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    for add in (
        _add_demo,
        _add_edit,
        _add_evidence,
        _add_gallery,
        _add_sweep,
        _add_report,
        _add_atlas,
        _add_lab,
        _add_app,
    ):
        add(commands)
    options = vars(parser.parse_args(arguments))
    runs: dict[str, Callable[..., int]] = {
        "demo": _demo,
        "edit": _edit,
        "evidence": _evidence,
        "gallery": _gallery,
        "sweep": _sweep,
        "report": _report,
        "atlas": _atlas,
        "lab": _lab,
        "app": _app,
    }
    try:
        return runs[options.pop("command")](**options)
    except (ValueError, FileNotFoundError, FileExistsError, ImportError) as error:
        print(f"lafn-viz: {error}", file=sys.stderr)
        return 2


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo", help="show language-agnostic neurons of the embedded model beside its control"
    )
    add = demo.add_argument
    add("--out", type=Path, default=Path("demo"), help="folder for the figures (default: demo)")
    add("--relation", default="capital", help="relation of the facts (default: capital)")
    add("--facts", type=int, default=24, help="number of facts, drawn at random (default: 24)")
    add("--seed", type=int, default=0, help="seed of the facts drawn and of the random neurons")


def _add_edit(commands: Any) -> None:
    edit = commands.add_parser(
        "edit", help="give one fact a new object in all languages, test the edit, and save it"
    )
    add = edit.add_argument
    add("--model", default="embedded", help="name or folder (default: embedded)")
    add("--fact", required=True, metavar="RELATION/SUBJECT", help="such as capital/JP")
    add(
        "--new", required=True, nargs="+", metavar="OBJECT",
        help="the new object: its name, or the id of a subject whose object it is (IT), or its "
        "names by language (en=Rome fr=Rome)",
    )  # fmt: skip
    add(
        "--out", type=Path, required=True,
        help="folder for the edit: a cache, to which further edits are added, or the edited model "
        "if the editor changes weights",
    )  # fmt: skip
    add("--languages", nargs="+", default=None, help="edit in these languages (default: all)")
    _add_files(add)
    add(
        "--editor", choices=EDIT_OPTIONS, default="language_agnostic",
        help="what makes the edit (default: language_agnostic, which changes no weights)",
    )  # fmt: skip
    add(
        "--neurons",
        type=int,
        dest="n_neurons",
        metavar="N",
        help="change N neurons (default: 1%% of them, at least 100)",
    )
    add("--layers", type=int, nargs="+", metavar="N", help="change only these layers")
    add(
        "--position",
        help="where the edit acts: from_subject, subject_last or answer; or traced, where neurons "
        "tell the model most about the subject (rome and memit edit the layer that does)",
    )
    add(
        "--gate", choices=("subject", "relation"),
        help="let the edit act in every text that names its subject, or only where the neurons say "
        "that the text also asks for its relation (default: relation, unless the package has no "
        "wordings of other relations in the languages edited)",
    )  # fmt: skip
    add(
        "--passport", type=Path, metavar="FILE",
        help="also write what the edit changes, question by question: as a page (FILE.html) or as "
        "JSON (FILE.json)",
    )  # fmt: skip
    add(
        "--beside",
        choices=EDIT_OPTIONS,
        help="compare it, in the passport, with what this editor makes at the same --position",
    )


def _add_evidence(commands: Any) -> None:
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


def _add_gallery(commands: Any) -> None:
    gallery = commands.add_parser(
        "gallery", help="draw every figure from results on the embedded model (takes minutes)"
    )
    add = gallery.add_argument
    add("--out", type=Path, default=Path("gallery"), help="folder for the pages (default: gallery)")
    add("--no-png", dest="png", action="store_false", help="write the pages without pictures")


def _add_sweep(commands: Any) -> None:
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
    _add_files(add)
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


def _add_report(commands: Any) -> None:
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


def _add_atlas(commands: Any) -> None:
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


def _add_lab(commands: Any) -> None:
    lab = commands.add_parser("lab", help="open the notebooks in JupyterLab")
    lab.add_argument(
        "folder", type=Path, nargs="?",
        help="copy the notebooks to this folder and open them there; existing files are kept "
        "(default: the notebooks of this checkout, or copies in ./lafn_viz_notebooks)",
    )  # fmt: skip
    lab.add_argument("--model", help="name or folder of a model to explore, in a new notebook")
    _add_files(lab.add_argument, dest="files")
    _add_server_options(lab, usual_port=LAB_PORT)
    lab.add_argument("--allow-root", action="store_true", help="let JupyterLab run as root")


def _add_app(commands: Any) -> None:
    app = commands.add_parser("app", help="serve the explorers as one page")
    _add_server_options(app, usual_port=APP_PORT)
    add = app.add_argument
    add("--model", default="embedded", help="name or folder of the first model (default: embedded)")
    _add_files(add, dest="files")
    add(
        "--no-token", dest="token", action="store_false",
        help="let in anyone who can reach the page, also other users of this computer",
    )  # fmt: skip
    add(
        "--theme", choices=("auto", "light", "dark"), default="auto",
        help="colours (default: as the system has them)",
    )  # fmt: skip


def _add_files(add: Callable[..., Any], *, dest: str = "file") -> None:
    add(
        "--file", type=Path, nargs=2, metavar=("FACTS", "PARAPHRASES"), dest=dest,
        help="use your own facts, in two files of JSON lines (default: the embedded facts)",
    )  # fmt: skip


def _add_server_options(command: argparse.ArgumentParser, *, usual_port: int) -> None:
    add = command.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: this computer alone)")
    add(
        "--port", type=int,
        help=f"port to listen on; 0 takes a free one (default: {usual_port}, or a free one)",
    )  # fmt: skip
    add(
        "--base-url", default="/", metavar="PATH",
        help="path of the first page, for a proxy that passes it on unchanged (default: /)",
    )  # fmt: skip
    add(
        "--allow-host", action="append", dest="allow_hosts", default=[], metavar="NAME",
        help="also answer requests for this host name, such as that of a proxy; repeat it for "
        "several names",
    )  # fmt: skip
    add(
        "--no-browser", dest="browser", action="store_false",
        help="print the address without opening a browser",
    )  # fmt: skip


def _steps(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _demo(out: Path, relation: str, facts: int, seed: int) -> int:
    import lafn_viz as lv
    from lafn_viz.app.demo import demo_figures
    from lafn_viz.experiments.figures import comparison_text
    from lafn_viz.plots.pages import write_page

    chosen = lv.load_facts().filter(relation=relation, leaking=False).sample(facts, seed=seed)
    _make_folder(out)
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


def _edit(
    model: str,
    fact: str,
    new: list[str],
    out: Path,
    *,
    languages: list[str] | None,
    file: Sequence[Path] | None,
    editor: str,
    passport: Path | None,
    beside: str | None,
    **options: Any,
) -> int:
    import lafn_viz as lv
    from lafn_viz.editing.baselines.weight_edits import WeightEdit, require_free
    from lafn_viz.editing.gate_by_relation import has_wordings
    from lafn_viz.experiments.edit_trial import cache_in, case_to_try, place_to_edit, try_edit

    given = {name: x for name, x in options.items() if x is not None}
    traced = given.get("position") == "traced"
    if traced:
        given["position"] = "answer"  # until it is known
    _require_passport(passport, editor, beside)
    _compared_editors(editor, beside, given)  # refuses options before it reads files
    relation, _, subject = fact.partition("/")
    named = dict(name.split("=", 1) for name in new if "=" in name)
    if len(named or new[:1]) < len(new):
        raise ValueError(
            f"--new {' '.join(new)} is neither one name nor names by language; write "
            "--new 'Buenos Aires', or --new en=Rome fr=Rome"
        )
    facts = _facts_in(file)
    case = case_to_try(
        facts, subject=subject, relation=relation, new_object=named or new[0], languages=languages
    )
    gate = "relation" if has_wordings(case.languages) else "subject"
    editors = _compared_editors(editor, beside, given, gate=gate)
    # What is there already is looked at before minutes of work, and not after them.
    _make_folder(out.parent)
    loaded = lv.load_model(model)
    if editor == "language_agnostic":
        cache = cache_in(out, loaded)
    else:
        require_free(out)
    if traced:
        place = place_to_edit(loaded, facts, case)
        print(f"traced: layer {place.layer}, position {place.position}\n")
        editors = _compared_editors(editor, beside, given, place, gate=gate)
    trial = try_edit(loaded, editors.pop(editor), case)
    print(trial.to_text())
    if passport is not None:
        edits = {name: x.edit(loaded, case, case.languages) for name, x in editors.items()}
        found = lv.passport(loaded, {editor: trial.edit, **edits}, case, facts=facts)
        (found.save if passport.suffix == ".json" else found.save_page)(passport)
        print(f"\nthe passport: {passport.resolve()}")
    trial.require_holding()
    if isinstance(trial.edit, WeightEdit):
        trial.edit.save_model(loaded, out)
        print(f"\nthe edited model: {out.resolve()}")
    if isinstance(trial.edit, lv.EditCache):
        for made in trial.edit:
            cache.add(made, replace=True)
        cache.save(out)
        print(f"\n{cache!r}: {out.resolve()}")
    return 0


def _facts_in(files: Sequence[Path] | None) -> "lv.FactSet":
    """The facts of two files, or else the embedded ones."""
    import lafn_viz as lv

    return lv.load_facts() if files is None else lv.load_facts(files[0], paraphrases=files[1])


def _edit_editor(name: str, options: dict[str, Any]) -> "lv.Editor":
    import lafn_viz as lv

    for option in options:
        if option not in EDIT_OPTIONS[name]:
            flag = "neurons" if option == "n_neurons" else option
            raise ValueError(f"the editor {name} takes no --{flag}; leave it out")
    if name == "rome" and "layers" in options:
        if len(options["layers"]) > 1:
            raise ValueError("the editor rome changes one layer; give --layers one number")
        options["layer"] = options.pop("layers")[0]
    editor: lv.Editor = getattr(lv.baselines, name)(**options)
    return editor


def _compared_editors(
    editor: str,
    beside: str | None,
    options: dict[str, Any],
    place: "Place | None" = None,
    gate: str = "relation",
) -> "dict[str, lv.Editor]":
    """The editor and the one beside it, which takes the same position.

    Args:
        place: where to edit if that is traced.
        gate: of LU-LAFNs, unless the options give one.
    """
    compared = {editor: options}
    if beside is not None:
        takes = {"position"} & options.keys() & {*EDIT_OPTIONS[beside]}
        compared[beside] = {name: options[name] for name in takes}
    made = {}
    for name, given in compared.items():
        if place is not None and "position" in given:
            one_layer = {"layers": [place.layer]} if name in ("rome", "memit") else {}
            given = one_layer | given | {"position": place.position}
        if name == "language_agnostic":
            given = {"gate": gate, **given}
        made[name] = _edit_editor(name, given)
    return made


def _require_passport(passport: Path | None, editor: str, beside: str | None) -> None:
    """Refuse a passport that cannot be written, and an editor beside none or beside itself."""
    if passport is not None:
        if passport.suffix not in (".html", ".json") or passport.is_dir():
            raise ValueError(
                f"--passport {passport} is no file for a page or for JSON; give a name that ends "
                "in .html or .json"
            )
        _make_folder(passport.parent)
    if beside is not None and (passport is None or beside == editor):
        raise ValueError(
            f"--beside {beside} names another editor for the passport; give --passport FILE.html, "
            "and an editor that differs from --editor"
        )


def _evidence(
    model: str, out: Path, *, relation: list[str], languages: list[str] | None, **options: Any
) -> int:
    import lafn_viz as lv

    facts = lv.load_facts().filter(relation=relation, languages=languages, leaking=False)
    _make_folder(out.parent)
    found = lv.evidence(lv.load_model(model), facts, examples=facts, progress=True, **options)
    lv.save_evidence(found, out)
    print(f"\n{found.to_text()}\n\n{out.resolve()}")
    return 0


def _gallery(out: Path, png: bool) -> int:
    from lafn_viz.app.gallery import gallery
    from lafn_viz.core.skipped import SkippedWarning

    _make_folder(out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkippedWarning)  # printed below, one a line
        made = gallery(out, png=png, progress=True)
    for name, reason in made.left_out.items():
        print(f"lafn-viz: {name} is left out: {reason}", file=sys.stderr)
    if made.without_pictures:
        print(f"lafn-viz: {made.without_pictures}", file=sys.stderr)
    print(f"{len(made.pages)} figures: {made.index}")
    return 1 if made.left_out else 0


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

    all_facts = _facts_in(file)
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


def _report(results: list[Path], out: Path, title: str | None) -> int:
    import lafn_viz as lv

    page = lv.report(results, out, title=title)
    print(f"{page.resolve()}: {page.stat().st_size / 1e6:.1f} MB")
    return 0


def _atlas(stores: list[Path], out: Path, **options: Any) -> int:
    import lafn_viz as lv

    made = lv.atlas(stores, out, progress=True, **options)
    for label, reason in made.without_tokens.items():
        print(f"lafn-viz: no tokens of {label}: {reason}", file=sys.stderr)
    print(f"{made.pages:,} pages, {made.size / 1e6:.1f} MB: {made.index}")
    return 0


def _lab(**options: Any) -> int:
    from lafn_viz.app.serving import serve_lab

    # JupyterLab prints its address with the token to this stream.
    serve_lab(**options, show_token=not others_can_read(sys.stderr), say=_say)
    return 0


def _app(**options: Any) -> int:
    from lafn_viz.app.serving import serve_app

    serve_app(**options, show_token=not others_can_read(sys.stdout), say=_say)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _make_folder(out: Path) -> None:
    """Make the folder for results before minutes of work, and not after them."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{out} cannot be a folder for results ({error.strerror}); give another with --out"
        ) from None


if __name__ == "__main__":
    raise SystemExit(main())
