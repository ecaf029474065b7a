"""Are the dependencies sound: known weaknesses, versions, licences?

    make audit                   # what can be checked here
    make audit AUDIT=required    # fails where no advisory database answers

1. **Advisories**: pip-audit asks PyPI, then OSV, about every version in constraints.txt. Where
   neither answers nothing was checked, and a sentence says so.
2. **Versions**: what is installed fits together (`pip check`) and is what constraints.txt says.
3. **Licences**: every installed package says its licence, and audit.toml allows it. The list goes
   to build/licences.md, what `pip install lafn_viz` brings apart from the extras.
"""

import argparse
import fnmatch
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, ParseError, get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
RULES = Path(__file__).with_name("audit.toml")
SERVICES = {"pypi": "PyPI", "osv": "OSV"}
SPDX = get_spdx_licensing()
ANY_BSD = "LicenseRef-BSD"
NOTE = """\
The wheel of lafn_viz contains none of these packages: pip fetches them, each under its own licence.
Whoever passes them on (a container image, an installer, a copy of an environment) passes on their
licence texts too; they lie in each package's `*.dist-info`. Weak copyleft asks for more only where
files of that package are changed. The facts inside the wheel hold names from Unicode CLDR
(Unicode-3.0): its notice, `LICENSE.unicode`, stays with them.

A wheel can hold more than its metadata says. NumPy's and SciPy's hold GCC's runtime libraries
(libgfortran: GPL-3.0-or-later WITH GCC-exception-3.1; libquadmath: LGPL-2.1-or-later), PyTorch's
libgomp (as libgfortran). Unchanged and as files of their own, as they are there, they may stand
beside code of any licence.

On Linux, PyTorch from PyPI also brings NVIDIA's CUDA libraries (`nvidia-*`), which are proprietary:
read their terms before you pass on an environment with them. PyTorch for the CPU brings none.
"""


@dataclass(frozen=True)
class Advisories:
    """What a database said: weaknesses found, how many packages it knew, and which it did not."""

    found: tuple[str, ...]
    checked: int
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Licence:
    """A package's licence (SPDX, or what it says instead), its kind, or why it is not allowed."""

    name: str
    version: str
    spdx: str
    kind: str
    problem: str = ""


def pins(text: str) -> dict[str, str]:
    """Name and version of every line of a constraints file."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(name): version.strip() for name, version in pairs}


# --- advisories


def read_report(report: Mapping, ignored: Iterable[str]) -> Advisories:
    """pip-audit's JSON; advisories that are ignored under any of their names are left out."""
    ignored = set(ignored)
    found, skipped, checked = [], [], 0
    for package in report["dependencies"]:
        if "skip_reason" in package:
            skipped.append(package["name"])
            continue
        checked += 1
        for advisory in package["vulns"]:
            names = [advisory["id"], *advisory.get("aliases", [])]
            if not ignored.intersection(names):
                mended = ", ".join(advisory["fix_versions"]) or "no version"
                found.append(
                    f"{package['name']} {package['version']} has {' = '.join(names)}, "
                    f"mended in {mended}"
                )
    return Advisories(tuple(found), checked, tuple(skipped))


def ask(service: str) -> dict | None:
    """pip-audit's report from one database, or None where it does not answer."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(ROOT / "constraints.txt")]
    # Every version is named, so nothing has to be resolved or installed.
    command += ["--no-deps", "--disable-pip", "--vulnerability-service", service]
    command += ["--format", "json", "--progress-spinner", "off", "--desc", "off"]
    run = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(run.stdout)
    except json.JSONDecodeError:
        return None


def check_advisories(
    ignored: Iterable[str], *, required: bool, ask: Callable[[str], dict | None] = ask
) -> tuple[list[str], str]:
    """(What is wrong, a sentence on what was checked) by the first database that answers."""
    for service, title in SERVICES.items():
        report = ask(service)
        result = read_report(report, ignored) if report is not None else None
        if result is not None and result.checked:
            said = f"advisories: {result.checked} versions checked against {title}"
            problems = list(result.found)
            if result.skipped:
                said += f"; it knows nothing of {', '.join(result.skipped)}"
                if required:
                    problems.append(f"no advisories known for {', '.join(result.skipped)}")
            return problems, said
    said = (
        f"advisories: NOT CHECKED, for no database ({', '.join(SERVICES.values())}) answers from "
        "here; run make audit AUDIT=required where one does"
    )
    return [said] if required else [], said


# --- versions


def misfits(said: str, incomplete: Iterable[str]) -> list[str]:
    """What `pip check` finds, but for what is missing beside packages that may be incomplete."""
    return [
        line
        for line in said.splitlines()
        if not line.endswith("is not installed.")
        or canonicalize_name(line.split()[0]) not in incomplete
    ]


def check_versions(
    installed: Mapping[str, str], pinned: Mapping[str, str], unpinned: Iterable[str]
) -> list[str]:
    """Installed packages that constraints.txt does not name, or names in another version."""
    problems = []
    for name, version in sorted(installed.items()):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in unpinned):
            continue
        # PyTorch's builds for one kind of machine add a local label: 2.13.0+cpu.
        if name not in pinned:
            problems.append(f"{name} {version} is installed, but not pinned in constraints.txt")
        elif version.split("+")[0] != pinned[name]:
            problems.append(f"{name} is {version}, but pinned to {pinned[name]}")
    return problems


def needed_by(
    project: Mapping, requires: Callable[[str], Iterable[str] | None]
) -> dict[str, list[str]]:
    """For each package what wants it: "core", or the names of extras.

    Args:
        project: the table of that name in pyproject.toml.
        requires: the requirements of an installed package, None of one that is not.
    """
    reached: dict[str, list[str]] = {}

    def follow(group: str, needs: Iterable[str], extras: frozenset[str], seen: set) -> None:
        for need in map(Requirement, needs):
            name, wanted = canonicalize_name(need.name), frozenset(need.extras)
            holds = need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in extras or {""}
            )
            if not holds or (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            if name == canonicalize_name(project["name"]):
                for extra in sorted(wanted):
                    follow(group, project["optional-dependencies"][extra], frozenset(), seen)
                continue
            inner = requires(name)
            if inner is None:
                continue
            if group not in reached.setdefault(name, []):
                reached[name].append(group)
            follow(group, inner, wanted | {""}, seen)

    follow("core", project["dependencies"], frozenset(), set())
    for extra, needs in project["optional-dependencies"].items():
        follow(extra, needs, frozenset(), set())
    return reached


# --- licences


def licence_of(metadata: Message, rules: Mapping) -> Licence:
    """A package's licence as it says itself, or as audit.toml says for it."""
    name, version = metadata["Name"], metadata["Version"]
    declared = _declared(metadata, rules["spelled"])
    exception = next(
        (
            some
            for pattern, some in rules["exceptions"].items()
            if fnmatch.fnmatchcase(canonicalize_name(name), pattern)
        ),
        None,
    )
    problem = ""
    if exception is not None:
        if declared is not None and _kind(declared, rules["allowed"]):
            problem = f"speaks for itself now ({declared}): remove its exception from audit.toml"
        declared = SPDX.parse(exception["licence"])
    if declared is None:
        problem = (
            "says no licence that is understood: read its licence file, then add the spelling, or "
            "an exception with evidence, to audit.toml"
        )
        return Licence(name, version, "unknown", "", problem)
    kind = _kind(declared, rules["allowed"])
    if not kind and exception is not None:
        kind = exception.get("kind", "")
    if not kind:
        problem = f"is under {declared}, which audit.toml does not allow"
    return Licence(name, version, str(declared), kind, problem)


def _declared(metadata: Message, spelled: Mapping[str, str]) -> Any:
    """Its SPDX expression; in older metadata its field and its classifiers together."""
    if metadata["License-Expression"]:
        return _parsed(metadata["License-Expression"])
    field = (metadata["License"] or "").strip()
    first = field.split("\n")[0].strip()
    known = _parsed(spelled.get(first, first))
    parts = [] if known is None else [known]
    said = set() if known is None else set(SPDX.license_keys(known))
    for line in metadata.get_all("Classifier") or []:
        if not line.startswith("License :: ") or line == "License :: OSI Approved":
            continue
        title = line.split(" :: ")[-1]
        found = _parsed(spelled.get(title, title))
        if found is None:
            return None
        # Classifiers do not say "and" or "or": what one adds to the field has to hold, too.
        new = set(SPDX.license_keys(found)) - said
        if new and not (new == {ANY_BSD} and any(key.startswith("BSD-") for key in said)):
            parts.append(found)
            said |= new
    if len(parts) < 2:
        return parts[0] if parts else None
    return SPDX.AND(*parts)


def _parsed(text: str) -> Any:
    """The SPDX expression that a text is, or None."""
    if text == ANY_BSD:
        return SPDX.parse(text)
    try:
        return SPDX.parse(text, validate=True) if text else None
    except (ExpressionError, ParseError):
        return None


def _kind(expression: Any, allowed: Mapping[str, str]) -> str:
    """Of "a OR b" the first that is allowed, of "a AND b" the strictest; "" where one is not."""
    if not isinstance(expression, (SPDX.AND, SPDX.OR)):
        return allowed.get(str(expression), "")
    kinds = [_kind(part, allowed) for part in expression.args]
    if isinstance(expression, SPDX.OR):
        return next((kind for kind in kinds if kind), "")
    # The kinds stand in the file from mild to strict.
    return "" if "" in kinds else max(kinds, key=list(allowed.values()).index)


def table(licences: Iterable[Licence], reached: Mapping[str, list[str]]) -> str:
    """The list as Markdown: what plain `pip install` brings first, then what extras bring."""
    groups: dict[str, list[str]] = {"core": [], "extras": [], "neither": []}
    titles = {
        "core": "Comes with `pip install lafn_viz`",
        "extras": "Comes with extras alone",
        "neither": "In this environment, wanted by none of them",
    }
    for licence in sorted(licences, key=lambda item: item.name.lower()):
        by = reached.get(canonicalize_name(licence.name), [])
        group = "core" if "core" in by else "extras" if by else "neither"
        extras = ", ".join(name for name in by if name != "core")
        row = (licence.name, licence.version, licence.spdx, licence.kind or "NOT ALLOWED", extras)
        groups[group].append("| " + " | ".join(row) + " |")
    page = ["# Licences of the dependencies", "", "Generation by `make audit`.", "", NOTE]
    for group, rows in groups.items():
        if rows:
            page += [f"## {titles[group]} ({len(rows)})", ""]
            page += ["| package | version | licence | kind | extras |", "|---|---|---|---|---|"]
            page += [*rows, ""]
    return "\n".join(page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "licences.md")
    parser.add_argument(
        "--advisories",
        choices=("wanted", "required"),
        default="wanted",
        help="required: fail where no database answers",
    )
    args = parser.parse_args()
    rules = tomllib.loads(RULES.read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found: dict[str, Distribution] = {}
    for item in distributions():  # the first of a name is the one that is imported
        found.setdefault(canonicalize_name(item.metadata["Name"]), item)

    problems, said = check_advisories(rules["advisories"], required=args.advisories == "required")
    print(said)
    fits = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    if fits.returncode:
        # What pip cannot do at all it says on the other stream.
        problems += misfits(fits.stdout, rules["incomplete"]) if fits.stdout else [fits.stderr]
    installed = {name: item.version for name, item in found.items()}
    pinned = pins((ROOT / "constraints.txt").read_text("utf-8"))
    problems += check_versions(installed, pinned, rules["unpinned"])
    print(f"versions: {len(installed)} installed packages held against constraints.txt")

    own = canonicalize_name(project["name"])
    licences = [licence_of(item.metadata, rules) for name, item in found.items() if name != own]
    reached = needed_by(
        project, lambda name: (found[name].requires or []) if name in found else None
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(table(licences, reached), "utf-8")
    problems += [f"{item.name} {item.problem}" for item in licences if item.problem]
    print(f"licences: {len(licences)} packages, listed in {args.out}")
    for problem in problems:
        print(f"PROBLEM: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
