"""`make audit` on faked packages and databases: what it lets through, and what it must not."""

import tomllib
from email.message import Message
from pathlib import Path

import pytest
from loading import load_script

ROOT = Path(__file__).parents[1]
RULES = {
    "allowed": {"MIT": "permissive", "BSD-3-Clause": "permissive", "Apache-2.0": "permissive",
                "LicenseRef-BSD": "permissive", "MPL-2.0": "weak copyleft"},
    "spelled": {"MIT License": "MIT", "BSD License": "LicenseRef-BSD",
                "Apache Software License": "Apache-2.0",
                "GNU General Public License (GPL)": "GPL-2.0-or-later"},
    "exceptions": {"silent": {"licence": "MIT", "evidence": "its LICENSE"},
                   "chip-*": {"licence": "LicenseRef-Chip", "kind": "proprietary"},
                   "bad": {"licence": "GPL-3.0-only", "evidence": "its LICENSE"}},
}  # fmt: skip

audit = load_script(".ci/audit.py")


def package(name: str = "some", classifiers: tuple[str, ...] = (), **fields: str) -> Message:
    metadata = Message()
    metadata["Name"], metadata["Version"] = name, "1.0"
    for field, value in fields.items():
        metadata[field.replace("_", "-")] = value
    for title in classifiers:
        metadata["Classifier"] = f"License :: OSI Approved :: {title}"
    return metadata


@pytest.mark.parametrize(
    ("metadata", "spdx", "kind"),
    [
        (package(License_Expression="MIT"), "MIT", "permissive"),
        (package(License_Expression="MPL-2.0 AND MIT"), "MPL-2.0 AND MIT", "weak copyleft"),
        (package(License_Expression="GPL-3.0-only OR MIT"), "GPL-3.0-only OR MIT", "permissive"),
        # The whole text in the field: its first line, or else the classifier.
        (package(License="MIT License\n\nCopyright (c) 2020"), "MIT", "permissive"),
        (
            package(classifiers=("BSD License",), License="Copyright\nx"),
            "LicenseRef-BSD",
            "permissive",
        ),
        # The classifier is only less exact, or says something else as well.
        (
            package(classifiers=("BSD License",), License="BSD-3-Clause"),
            "BSD-3-Clause",
            "permissive",
        ),
        (
            package(classifiers=("Apache Software License",), License="MIT License"),
            "MIT AND Apache-2.0",
            "permissive",
        ),
    ],
)
def test_licence_that_is_allowed(metadata, spdx, kind):
    found = audit.licence_of(metadata, RULES)
    assert (found.spdx, found.kind, found.problem) == (spdx, kind, "")


@pytest.mark.parametrize(
    "metadata",
    [
        package(License_Expression="GPL-3.0-only"),
        package(License_Expression="MIT AND GPL-3.0-only"),
        package(License_Expression="Apache-2.0 WITH LLVM-exception"),
        package(classifiers=("MIT License", "GNU General Public License (GPL)")),
        package("bad"),
    ],
)
def test_licence_that_is_not_allowed(metadata):
    found = audit.licence_of(metadata, RULES)
    assert not found.kind
    assert "does not allow" in found.problem


@pytest.mark.parametrize(
    "metadata",
    [
        package(),
        package(License="see the file"),
        package(License="Apache License, Version 2.0"),
        package(License_Expression="no such licence"),
        package(License="UNKNOWN", classifiers=("Some Other License",)),
        package(License="MIT License", classifiers=("Some Other License",)),
    ],
)
def test_licence_that_is_unknown(metadata):
    found = audit.licence_of(metadata, RULES)
    assert (found.spdx, found.kind) == ("unknown", "")
    assert "read its licence file" in found.problem


def test_exceptions_hold_for_who_is_silent_and_go_when_it_speaks():
    assert audit.licence_of(package("Silent"), RULES).problem == ""
    chip = audit.licence_of(package("chip-blas", License="proprietary"), RULES)
    assert (chip.kind, chip.problem) == ("proprietary", "")
    assert (
        "remove its exception" in audit.licence_of(package("silent", License="MIT"), RULES).problem
    )


def report(*packages: dict) -> dict:
    return {"dependencies": list(packages), "fixes": []}


SOUND = {"name": "sound", "version": "1", "vulns": []}
WEAK = {
    "name": "weak",
    "version": "2",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"]}],
}
UNKNOWN = {"name": "odd", "skip_reason": "Dependency not found on PyPI"}


def test_advisory_that_is_found_is_a_problem_unless_it_is_ignored():
    problems, said = audit.check_advisories([], required=False, ask=lambda s: report(SOUND, WEAK))
    assert problems == ["weak 2 has PYSEC-1 = CVE-1, fixed in 2.1"]
    assert "2 versions checked against PyPI" in said
    for name in ("PYSEC-1", "CVE-1"):
        assert not audit.check_advisories([name], required=True, ask=lambda s: report(WEAK))[0]


@pytest.mark.parametrize("answer", [None, report(UNKNOWN), report()])
def test_where_no_database_answers_it_says_so_and_fails_only_when_told(answer):
    asked = []

    def ask(service):
        asked.append(service)
        return answer

    problems, said = audit.check_advisories([], required=False, ask=ask)
    assert not problems
    assert "NOT CHECKED" in said
    assert asked == ["pypi", "osv"]
    problems, _ = audit.check_advisories([], required=True, ask=ask)
    assert "NOT CHECKED" in problems[0]


def test_second_database_is_asked_and_what_it_does_not_know_is_named():
    def ask(service):
        return report(SOUND, UNKNOWN) if service == "osv" else None

    problems, said = audit.check_advisories([], required=False, ask=ask)
    assert not problems
    assert "1 versions checked against OSV; it does not know odd" in said
    assert audit.check_advisories([], required=True, ask=ask)[0] == [
        "the database does not know odd"
    ]


def test_pip_audit_that_dies_is_no_report(monkeypatch):
    monkeypatch.setattr(audit.sys, "executable", "/bin/false")
    assert audit.ask("pypi") is None


def test_versions_are_held_against_the_pins():
    pinned = audit.pins("# a comment\nTorch==2.1\n\npip_audit==3\nold==1\n")
    assert pinned == {"torch": "2.1", "pip-audit": "3", "old": "1"}
    installed = {"torch": "2.1+cpu", "pip-audit": "3", "old": "2", "new": "1", "chip-x": "1"}
    assert audit.check_versions(installed, pinned, ["chip-*"]) == [
        "new 1 is installed, but not pinned in constraints.txt",
        "old is 2, but pinned to 1",
    ]


def test_what_does_not_fit_together_is_a_problem_but_for_what_may_be_incomplete():
    missing = "half 1.0 requires engine, which is not installed."
    wrong = "half 1.0 has requirement a<2, but you have a 2.0."
    assert audit.misfits(f"{missing}\n{wrong}", ["half"]) == [wrong]
    assert audit.misfits(missing, ["other"]) == [missing]


def test_core_is_told_from_extras_through_markers_and_extras_of_others():
    project = {
        "name": "mine",
        "dependencies": ["a>=1", "w; sys_platform == 'nowhere'"],
        "optional-dependencies": {"plot": ["p[fast]"], "dev": ["mine[plot]", "d", "gone"]},
    }
    needs = {
        "a": ["b"], "b": ["a"], "w": [], "d": ["b"],
        "p": ["q; extra == 'fast'", "r; extra == 'slow'"], "q": [], "r": [],
    }  # fmt: skip
    assert audit.needed_by(project, needs.get) == {
        "a": ["core", "dev"], "b": ["core", "dev"], "p": ["plot", "dev"], "q": ["plot", "dev"],
        "d": ["dev"],
    }  # fmt: skip


def test_list_has_core_first_and_marks_what_is_not_allowed():
    made = [audit.Licence("a", "1", "MIT", "permissive"), audit.Licence("P", "2", "X", "", "is X")]
    page = audit.table(made, {"a": ["core", "dev"], "p": ["plot"]})
    core, extras = page.split("## Comes with `pip install lafn_viz` (1)")[1].split("## Comes")
    assert "| a | 1 | MIT | permissive | dev |" in core
    assert "| P | 2 | X | NOT ALLOWED | plot |" in extras


def test_rules_are_sound():
    rules = tomllib.loads(audit.RULES.read_text("utf-8"))
    for name in [*rules["allowed"], *rules["spelled"].values()]:
        assert audit._parsed(name) is not None, name
    for name, exception in rules["exceptions"].items():
        assert exception["evidence"], name
        audit.SPDX.parse(exception["licence"])


def test_notice_of_the_names_in_the_facts_is_babels_and_declared():
    import babel

    notice = (ROOT / "data" / "LICENSE.unicode").read_bytes()
    assert notice == (Path(babel.__file__).parent / "locale-data/LICENSE.unicode").read_bytes()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "data/LICENSE.unicode" in project["license-files"]
    assert project["license"] == "Apache-2.0 AND Unicode-3.0"
