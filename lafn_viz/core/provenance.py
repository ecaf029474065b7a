"""Where a result comes from: model, weights, method, options, seed and versions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    PACKAGE_VERSION = version("lafn_viz")
except PackageNotFoundError:  # imported from a folder that is not installed
    PACKAGE_VERSION = "unknown"


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from: enough to compute it again."""

    model: str
    weights: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Provenance({self.method} on {self.model} {self.weights[:8]}, {dict(self.options)})"
