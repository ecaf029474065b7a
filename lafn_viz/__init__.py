"""See, prove and change the facts that a language model keeps in neurons of every language.

`__init__.pyi` lists the public names and the module that holds each. Type checkers read it as it
is; here the same list serves the look-up, so that a module is imported on first use of one of its
names and `import lafn_viz` stays quick.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

from lafn_viz.core.provenance import PACKAGE_VERSION


def _public_names() -> dict[str, str]:
    """The module that holds each public name."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


_PUBLIC_NAMES = _public_names()
__all__ = sorted(_PUBLIC_NAMES)
__version__ = PACKAGE_VERSION


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC_NAMES:
        raise AttributeError(f"module 'lafn_viz' has no attribute {name!r}")
    module = _PUBLIC_NAMES[name]
    members = vars(import_module(module))
    # `lv.plots` and `lv.baselines` are modules themselves.
    value = members[name] if name in members else import_module(f"{module}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
