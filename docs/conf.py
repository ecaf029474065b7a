"""The documentation site. `make docs` builds it from docs/; it opens without a network.

`prepare.py` runs first and writes the pages of the course and the gallery.
"""

import re
import sys
from pathlib import Path

from plotly.offline import get_plotlyjs
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))
from mathml import setup as setup_mathml

import lafn_viz

ROOT = Path(__file__).resolve().parents[1]

project = "lafn_viz"
release = version = lafn_viz.__version__
project_copyright = "the authors of lafn_viz, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nitpicky = True

# Text.
myst_enable_extensions = ["colon_fence", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # a notebook may skip a heading level

# Docstrings: single backticks mark names, which become links if this site has the name.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False
python_maximum_signature_line_length = 88
python_display_short_literal_types = True
napoleon_use_ivar = True  # an attribute that a class lists may be a property as well
napoleon_use_rtype = False
# The index of another project cannot be fetched offline, so its names stay plain text. A name in
# backticks may also be an option, a file or a value.
nitpick_ignore_regex = [
    ("py:obj", "(?s).*"),
    ("py:.*", r"(collections|contextlib|jaxtyping|numpy|pandas|pathlib)\..*"),
    ("py:.*", r"(np|pd|go|t|torch|plotly)\..*"),
    ("py:.*", r"Tensor|ndarray|DataFrame|Path|TransformerBridge|PreTrained\w+|optional"),
    ("py:.*", r"(.*\.)?(PlainModel|CorpusActivations)"),  # what functions hand to each other
]

# The page.
html_theme = "furo"
html_title = "lafn_viz"
pygments_dark_style = "github-dark"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("figures.js", {"defer": "defer"})]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # a page opened as a file cannot read others
linkcheck_anchors = False

# Links in included files, and the pages of this site that replace their targets.
PLACES = {
    r"docs/([\w/-]+\.(?:png|md))": r"/\1",
    r"notebooks/([0-9]\w+)\.ipynb": r"/course/\1.md",
    r"(?:data/)?models/([\w-]+)/README\.md": r"/models/\1.md",
    r"data/README\.md": "/data.md",
    r"CONTRIBUTING\.md": "/contributing.md",
    r"CHANGELOG\.md": "/changelog.md",
}


def link_pages(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """Point links in included files at the pages of this site."""
    for place, page in PLACES.items():
        content[0] = re.sub(rf"\]\({place}\)", f"]({page})", content[0])


def read_docstring(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Link public names in backticks; keep |x| as an absolute value, which is no markup."""
    for i, line in enumerate(lines):
        parts = re.split(r"(?<!:)(`\w+`)", line)
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        for j, part in enumerate(parts[1::2]):
            if part.strip("`") in lafn_viz.__all__:
                parts[2 * j + 1] = f"`{part.strip('`')} <lafn_viz.{part.strip('`')}>`"
        lines[i] = "".join(parts)


def read_signature(
    app: Sphinx, what: str, name: str, thing: object, options: object, given: str, returns: str
) -> tuple[str, str] | None:
    """Show a default made by a factory as `...`, which is valid Python."""
    return (given.replace("<factory>", "..."), returns) if "<factory>" in (given or "") else None


def add_plotly(app: Sphinx, error: Exception | None) -> None:
    """Put one copy of plotly.js beside the pages."""
    if error is None and app.builder.format == "html":
        Path(app.outdir, "_static", "plotly.min.js").write_text(get_plotlyjs(), "utf-8")


def setup(app: Sphinx) -> None:
    setup_mathml(app)
    app.connect("include-read", link_pages)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", read_signature)
    app.connect("build-finished", add_plotly)
