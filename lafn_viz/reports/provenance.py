"""Where a report's results come from, and how to make them again."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from lafn_viz.core.html_parts import details
from lafn_viz.core.provenance import Provenance


def provenance_html(origin: Provenance, code: str, note: str) -> str:
    """The model, its weights, all options and versions, and the code that repeats it.

    Args:
        code: Python that makes the results.
        note: what the code does not say.
    """
    rows = {
        "Model": origin.model,
        "Weights (SHA-256)": origin.weights,
        "Versions": ", ".join(f"{name} {version}" for name, version in origin.versions.items()),
    }
    listed = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items() if value
    )
    options = json.dumps(dict(origin.options), ensure_ascii=False, indent=1)
    return (
        f"<dl>{listed}</dl><h3>To make it again</h3><pre><code>{escape(code)}</code></pre>"
        f"<p>{escape(note)}</p>{details('All options', f'<pre>{escape(options)}</pre>')}"
    )


def call_text(function: str, arguments: Mapping[str, Any]) -> str:
    """A call as Python code, an argument a line."""
    lines = "".join(f"    {name}={value!r},\n" for name, value in arguments.items())
    return f"{function}(\n{lines})"
