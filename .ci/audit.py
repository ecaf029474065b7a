"""Check the dependencies: known vulnerabilities, versions and licences.

    make audit                   # what can be checked here
    make audit AUDIT=required    # fails if no advisory database answers

1. **Advisories**: pip-audit asks PyPI, then OSV, about every version in constraints.txt. If neither
   answers, nothing is checked, and the output says so.
2. **Versions**: the installed packages fit together (`pip check`) and are the versions that
   constraints.txt names.
3. **Licences**: every installed package declares its licence, and audit.toml allows it. The list is
   written to build/licences.md; what `pip install lafn_viz` brings is listed apart from the extras.
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
If you pass them on (in a container image, an installer, a copy of an environment), pass on their
licence texts too; they are in each package's `*.dist-info`. Weak copyleft requires more only if you
change files of that package. The facts inside the wheel contain names from Unicode CLDR
(Unicode-3.0): its notice, `LICENSE.unicode`, stays with them.

A wheel can contain more than its metadata says. Those of NumPy and SciPy contain GCC's runtime
libraries (libgfortran: GPL-3.0-or-later WITH GCC-exception-3.1; libquadmath: LGPL-2.1-or-later),
that of PyTorch contains libgomp (same licence as libgfortran). Unchanged and in separate files, as
they are there, they may accompany code under any licence.

On Linux, PyTorch from PyPI also brings NVIDIA's CUDA libraries (`nvidia-*`), which are proprietary:
read their terms before you pass on an environment with them. PyTorch for the CPU brings none.
"""


@dataclass(frozen=True)
class Advisories:
    """A database's answer: advisories found, number of packages checked, packages unknown to it."""

    found: tuple[str, ...]
    checked: int
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Licence:
    """A package's licence (SPDX, or "unknown"), its kind, and the problem with it, if any."""

    name: str
    version: str
    spdx: str
    kind: str
    problem: str = ""


def pins(text: str) -> dict[str, str]:
    """Return the version that a constraints file pins for each package."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(name): version.strip() for name, version in pairs}


# --- advisories


def read_report(report: Mapping, ignored: Iterable[str]) -> Advisories:
    """Read pip-audit's JSON, without the advisories that are ignored under any of their names."""
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
                fixes = ", ".join(advisory["fix_versions"]) or "no version"
                found.append(
                    f"{package['name']} {package['version']} has {' = '.join(names)}, "
                    f"fixed in {fixes}"
                )
    return Advisories(tuple(found), checked, tuple(skipped))


def ask(service: str) -> dict | None:
    """Return pip-audit's report from one database, or None if it does not answer."""
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
    """Return the problems, and a sentence on what was checked, by the first database to answer."""
    for service, title in SERVICES.items():
        report = ask(service)
        result = read_report(report, ignored) if report is not None else None
        if result is not None and result.checked:
            summary = f"advisories: {result.checked} versions checked against {title}"
            problems = list(result.found)
            if result.skipped:
                summary += f"; it does not know {', '.join(result.skipped)}"
                if required:
                    problems.append(f"the database does not know {', '.join(result.skipped)}")
            return problems, summary
    summary = (
        f"advisories: NOT CHECKED, because no database ({', '.join(SERVICES.values())}) answers "
        "from here; run make audit AUDIT=required where one does"
    )
    return [summary] if required else [], summary


# --- versions


def misfits(output: str, incomplete: Iterable[str]) -> list[str]:
    """Return what `pip check` finds, except what packages lack that may be incomplete."""
    return [
        line
        for line in output.splitlines()
        if not line.endswith("is not installed.")
        or canonicalize_name(line.split()[0]) not in incomplete
    ]


def check_versions(
    installed: Mapping[str, str], pinned: Mapping[str, str], unpinned: Iterable[str]
) -> list[str]:
    """Return a problem for each installed package whose version constraints.txt does not pin."""
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
    """Return for each package what needs it: "core", or the names of extras.

    Args:
        project: the table `project` of pyproject.toml.
        requires: returns the requirements of an installed package, None for any other.
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
    """Return a package's licence, as its metadata or audit.toml gives it."""
    name, version = metadata["Name"], metadata["Version"]
    declared = _declared(metadata, rules["spelled"])
    exception = next(
        (
            rule
            for pattern, rule in rules["exceptions"].items()
            if fnmatch.fnmatchcase(canonicalize_name(name), pattern)
        ),
        None,
    )
    problem = ""
    if exception is not None:
        if declared is not None and _kind(declared, rules["allowed"]):
            problem = f"now declares its licence ({declared}): remove its exception from audit.toml"
        declared = SPDX.parse(exception["licence"])
    if declared is None:
        problem = (
            "declares no licence that this check understands: read its licence file, then add the "
            "spelling, or an exception with evidence, to audit.toml"
        )
        return Licence(name, version, "unknown", "", problem)
    kind = _kind(declared, rules["allowed"])
    if not kind and exception is not None:
        kind = exception.get("kind", "")
    if not kind:
        problem = f"is under {declared}, which audit.toml does not allow"
    return Licence(name, version, str(declared), kind, problem)


def _declared(metadata: Message, spelled: Mapping[str, str]) -> Any:
    """Return the declared SPDX expression, in older metadata joined from field and classifiers."""
    if metadata["License-Expression"]:
        return _parsed(metadata["License-Expression"])
    field = (metadata["License"] or "").strip()
    first = field.split("\n")[0].strip()
    known = _parsed(spelled.get(first, first))
    parts = [] if known is None else [known]
    keys = set() if known is None else set(SPDX.license_keys(known))
    for line in metadata.get_all("Classifier") or []:
        if not line.startswith("License :: ") or line == "License :: OSI Approved":
            continue
        title = line.split(" :: ")[-1]
        expression = _parsed(spelled.get(title, title))
        if expression is None:
            return None
        # Classifiers do not say "and" or "or". What one adds to the field must hold as well.
        new = set(SPDX.license_keys(expression)) - keys
        if new and not (new == {ANY_BSD} and any(key.startswith("BSD-") for key in keys)):
            parts.append(expression)
            keys |= new
    if len(parts) < 2:
        return parts[0] if parts else None
    return SPDX.AND(*parts)


def _parsed(text: str) -> Any:
    """Parse a text as an SPDX expression; None if it is not one."""
    if text == ANY_BSD:
        return SPDX.parse(text)
    try:
        return SPDX.parse(text, validate=True) if text else None
    except (ExpressionError, ParseError):
        return None


def _kind(expression: Any, allowed: Mapping[str, str]) -> str:
    """Kind of an expression: of "a OR b" the first allowed, of "a AND b" the strictest, or ""."""
    if not isinstance(expression, (SPDX.AND, SPDX.OR)):
        return allowed.get(str(expression), "")
    kinds = [_kind(part, allowed) for part in expression.args]
    if isinstance(expression, SPDX.OR):
        return next((kind for kind in kinds if kind), "")
    # The file lists the kinds from mild to strict.
    return "" if "" in kinds else max(kinds, key=list(allowed.values()).index)


def table(licences: Iterable[Licence], reached: Mapping[str, list[str]]) -> str:
    """The list as Markdown: first what plain `pip install` brings, then what the extras bring."""
    groups: dict[str, list[str]] = {"core": [], "extras": [], "neither": []}
    titles = {
        "core": "Comes with `pip install lafn_viz`",
        "extras": "Comes only with extras",
        "neither": "In this environment, but needed by neither",
    }
    for licence in sorted(licences, key=lambda item: item.name.lower()):
        by = reached.get(canonicalize_name(licence.name), [])
        group = "core" if "core" in by else "extras" if by else "neither"
        extras = ", ".join(name for name in by if name != "core")
        row = (licence.name, licence.version, licence.spdx, licence.kind or "NOT ALLOWED", extras)
        groups[group].append("| " + " | ".join(row) + " |")
    page = ["# Licences of the dependencies", "", "Written by `make audit`.", "", NOTE]
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
        help="required: fail if no database answers",
    )
    args = parser.parse_args()
    rules = tomllib.loads(RULES.read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found: dict[str, Distribution] = {}
    for item in distributions():  # Python imports the first one of a name
        found.setdefault(canonicalize_name(item.metadata["Name"]), item)

    problems, summary = check_advisories(
        rules["advisories"], required=args.advisories == "required"
    )
    print(summary)
    fits = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    if fits.returncode:
        # If pip fails altogether, it says so on the other stream.
        problems += misfits(fits.stdout, rules["incomplete"]) if fits.stdout else [fits.stderr]
    installed = {name: item.version for name, item in found.items()}
    pinned = pins((ROOT / "constraints.txt").read_text("utf-8"))
    problems += check_versions(installed, pinned, rules["unpinned"])
    print(f"versions: {len(installed)} installed packages compared with constraints.txt")

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
