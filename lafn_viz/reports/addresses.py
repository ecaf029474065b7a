"""Addresses of an atlas's pages: the same for the same fact, neuron or relation in every build."""

import re

from lafn_viz.core.files import checksum_of

_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}|[A-Z0-9][A-Z0-9_-]{0,19}")
_DEVICES = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)  # no file names on Windows


def slug(name: str) -> str:
    """A name as a part of an address: plain names in small letters, others with a checksum.

    Different names have different slugs, also on disks that ignore case: a name in capitals alone
    gets a mark.
    """
    if _PLAIN.fullmatch(name) and not _DEVICES.fullmatch(name) and "--" not in name:
        return name if name == name.lower() else f"{name.lower()}--c"
    kept = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:30].lower()
    return f"{kept or 'x'}--{checksum_of(name)[:10]}"
