"""`lafn-viz edit`: make an edit, test it, and save it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lafn_viz.cli.arguments import add_files, facts_in, make_folder

if TYPE_CHECKING:
    import lafn_viz as lv
    from lafn_viz.interventions.activation_patching import Place

# The editors of `lafn-viz edit`, and the options that each takes.
EDIT_OPTIONS = {
    "language_agnostic": ("n_neurons", "layers", "position", "gate"),
    "memit": ("layers", "position"),
    "rome": ("layers", "position"), "fine_tuning": ("layers",),
}  # fmt: skip


def add_edit(commands: Any) -> None:
    """Add `lafn-viz edit`."""
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
    add_files(add)
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
    edit.set_defaults(run=_edit)


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
    compared_editors(editor, beside, given)  # refuses options before it reads files
    relation, _, subject = fact.partition("/")
    named = dict(name.split("=", 1) for name in new if "=" in name)
    if len(named or new[:1]) < len(new):
        raise ValueError(
            f"--new {' '.join(new)} is neither one name nor names by language; write "
            "--new 'Buenos Aires', or --new en=Rome fr=Rome"
        )
    facts = facts_in(file)
    case = case_to_try(
        facts, subject=subject, relation=relation, new_object=named or new[0], languages=languages
    )
    gate = "relation" if has_wordings(case.languages) else "subject"
    editors = compared_editors(editor, beside, given, gate=gate)
    # What is there already is looked at before minutes of work, and not after them.
    make_folder(out.parent)
    loaded = lv.load_model(model)
    if editor == "language_agnostic":
        cache = cache_in(out, loaded)
    else:
        require_free(out)
    if traced:
        place = place_to_edit(loaded, facts, case)
        print(f"traced: layer {place.layer}, position {place.position}\n")
        editors = compared_editors(editor, beside, given, place, gate=gate)
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


def _require_passport(passport: Path | None, editor: str, beside: str | None) -> None:
    """Refuse a passport that cannot be written, and an editor beside none or beside itself."""
    if passport is not None:
        if passport.suffix not in (".html", ".json") or passport.is_dir():
            raise ValueError(
                f"--passport {passport} is no file for a page or for JSON; give a name that ends "
                "in .html or .json"
            )
        make_folder(passport.parent)
    if beside is not None and (passport is None or beside == editor):
        raise ValueError(
            f"--beside {beside} names another editor for the passport; give --passport FILE.html, "
            "and an editor that differs from --editor"
        )


def compared_editors(
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
