"""Is this tree fit for a release?

    make release-check                # with the version of pyproject.toml
    make release-check TAG=v0.2.0     # and is this the tag of that version?

The version is told once, in pyproject.toml. The package, the site and the wheel read it there. To
release, set it, give the first section of CHANGELOG.md its name and date, commit, and tag.

1. Nothing is left to commit.
2. The first section of CHANGELOG.md is `## VERSION (YEAR-MONTH-DAY)`, and not empty.
3. The tag is `vVERSION`, or is still free if none is given.
4. CITATION.cff has what readers of the format need, the licence of the code, and no version.
5. The installed package has this version (`make` installs again when pyproject.toml changes).
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
CITED = ("cff-version", "message", "title", "authors")


def said_of_changelog(text: str, version: str, today: date) -> list[str]:
    """What is wrong with the first section of a changelog."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:] or [""]
    first, _, body = sections[0].partition("\n")
    found = re.fullmatch(r"(\S+) \((\d{4}-\d{2}-\d{2})\)", first.strip())
    if not found or found[1] != version:
        return [
            f"CHANGELOG.md begins with {first.strip()!r}; call the section "
            f"'{version} ({today.isoformat()})'"
        ]
    wrong = []
    try:
        if date.fromisoformat(found[2]) > today:
            wrong.append(f"CHANGELOG.md dates {version} {found[2]}, which is to come")
    except ValueError:
        wrong.append(f"CHANGELOG.md dates {version} {found[2]}, which is no date")
    if not body.strip():
        wrong.append(f"CHANGELOG.md says nothing of {version}")
    return wrong


def said_of_citation(cited: Any, licence: str) -> list[str]:
    """What is wrong with the contents of a citation file."""
    if not isinstance(cited, dict):
        return ["CITATION.cff holds no keys and values"]
    wrong = [f"CITATION.cff has no {key!r}" for key in CITED if not cited.get(key)]
    if cited.get("license") not in licence.split():
        wrong.append(f"CITATION.cff has the licence {cited.get('license')!r}, not {licence!r}")
    if "version" in cited:
        wrong.append("CITATION.cff tells a version; pyproject.toml tells it, so leave it out")
    return wrong


def said_of_version(
    version: str, installed: str, tag: str | None, tags: Sequence[str]
) -> list[str]:
    """What is wrong with a version and its tag."""
    try:
        usual = str(Version(version))
        wrong = [] if usual == version else [f"pyproject.toml has {version!r}; write {usual!r}"]
    except InvalidVersion:
        wrong = [f"pyproject.toml has the version {version!r}, which pip cannot order"]
    if installed != version:
        wrong.append(f"the installed package is {installed}, not {version}; run make again")
    if tag is None and f"v{version}" in tags:
        wrong.append(f"v{version} is tagged already; raise the version in pyproject.toml")
    if tag is not None and tag != f"v{version}":
        wrong.append(f"the tag is {tag}, but pyproject.toml has the version {version}")
    return wrong


def said_of_tree(root: Path, tag: str | None) -> list[str]:
    """All that is wrong with a checkout."""

    def git(*arguments: str) -> list[str]:
        run = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
        return run.stdout.decode().splitlines()

    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    version = project["version"]
    changed = git("status", "--porcelain")
    return [
        *([f"{len(changed)} files are changed or new; commit them"] if changed else []),
        *said_of_version(version, installed_version(project["name"]), tag, git("tag", "--list")),
        *said_of_changelog((root / "CHANGELOG.md").read_text("utf-8"), version, date.today()),
        *said_of_citation(
            yaml.safe_load((root / "CITATION.cff").read_text("utf-8")), project["license"]
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tag", help="the tag that is released")
    wrong = said_of_tree(ROOT, parser.parse_args().tag)
    for sentence in wrong:
        print(sentence)
    print("not fit for a release" if wrong else "fit for a release")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
