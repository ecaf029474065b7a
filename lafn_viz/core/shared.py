"""A context that several blocks are in together, in whichever threads they are."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


class Shared:
    """Enters a context with the first block that is entered, and leaves it with the last.

    What torch and a model have once for all threads is set and put back this way. Blocks may be
    left in any order.

    Args:
        make: returns the context to enter.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._n_inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                self._context = self._make()
                self._context.__enter__()
            self._n_inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                self._context.__exit__(None, None, None)
