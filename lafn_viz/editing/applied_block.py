"""The edits of one `with` block or handle, in whichever thread the model reads meanwhile."""

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from torch import Tensor

from lafn_viz.editing.applied import AppliedEdits, Find, Fired, signature_of
from lafn_viz.editing.edit import Edit, EditError
from lafn_viz.models.calls import current_call
from lafn_viz.models.generate_calls import watched
from lafn_viz.models.hooks import ADDING_HOOKS, UNCOMPILED, Hooks, hooked

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from lafn_viz.models.plain import PlainModel


class AttachedEdits:
    """Edits that act in every pass of a model until they are removed.

    They are removed at the end of a `with` block, also after an exception, or by `remove()`.
    Weights never change.

    A public call has the edits that its own thread applied: what others apply meanwhile changes no
    result of it. A pass of the user's own has all edits, also in another thread, as when a streamer
    generates in one. Each thread has its own `AppliedEdits`, because each reads its own texts.

    `fired` lists the edits that act on the texts that were read last, in whichever thread.

    Args:
        find, names: as in `AppliedEdits`.
    """

    def __init__(
        self,
        model: "TransformerBridge | PlainModel",
        edits: Iterable[Edit],
        find: Find,
        *,
        names: Find,
    ) -> None:
        self.fired: list[Fired] = []
        self._model, self._edits, self._find, self._names = model, tuple(edits), find, names
        self._signatures = {signature_of(edit) for edit in self._edits}
        self._owner = threading.get_ident()
        self._of_thread = threading.local()
        self._hooks: Hooks = [(name, self._adds(name)) for name in self._mine()[1]]
        # The hooks in the model keep this object, and so the blocks that it has entered.
        self._entered = contextlib.ExitStack()
        self._attach()

    def __repr__(self) -> str:
        kind = type(self._model.original_model).__name__
        return f"AttachedEdits({len(self._edits)} edits of {kind})"

    def __enter__(self) -> "AttachedEdits":
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def __deepcopy__(self, memo: Any) -> NoReturn:
        raise EditError(
            "a model cannot be copied while edits are applied to it; copy it outside the context, "
            "or after remove(), and apply the edits to the copy"
        )

    def remove(self) -> None:
        """Let the model read as before; once is enough."""
        self._entered.close()

    def _attach(self) -> None:
        module = self._model.original_model
        with contextlib.ExitStack() as stack:
            stack.enter_context(UNCOMPILED)
            stack.enter_context(watched(self._model))
            with ADDING_HOOKS:
                before = module.register_forward_pre_hook(self._before_pass, with_kwargs=True)
                stack.callback(before.remove)
                after = module.register_forward_hook(
                    self._after_pass, with_kwargs=True, always_call=True
                )
                stack.callback(after.remove)
            stack.enter_context(hooked(self._model, self._hooks, in_every_thread=True))
            self._entered = stack.pop_all()

    def _before_pass(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward pre-hook of the model: find out which edits act on which rows."""
        if self._act and self._hooks:
            self._require_whole(module)
            blocks = [
                getattr(hook, "__self__", None) for hook in module._forward_pre_hooks.values()
            ]
            others = [
                signature
                for block in blocks
                if isinstance(block, AttachedEdits) and block._act
                for signature in block._signatures
            ]
            edits, _ = self._mine()
            edits.before_pass(module, args, kwargs, others=others)
            self.fired[:] = edits.fired

    def _after_pass(self, module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """A forward hook of the model: its key/value cache keeps what was read with which edits."""
        if self._act:
            self._mine()[0].after_pass(output)

    def _require_whole(self, module: Any) -> None:
        """Refuse a copy of the model, and a model without the hooks that add the values."""
        if module is not self._model.original_model:
            raise EditError(
                "this is a copy of the model that the edits are applied to; load the model anew, "
                "and apply the edits to it"
            )
        for name, add in self._hooks:
            if not any(hook.user_hook is add for hook in self._model.hook_dict[name].fwd_hooks):
                raise EditError(
                    "the hooks of the edits were removed from the model; apply the edits again"
                )

    @property
    def _act(self) -> bool:
        """Whether the edits act in the pass that this thread is in."""
        return threading.get_ident() == self._owner or current_call(self._model) is None

    def _mine(self) -> tuple[AppliedEdits, dict[str, Callable[..., Tensor | None]]]:
        """The edits as this thread has applied them, and their hooks by name."""
        if not hasattr(self._of_thread, "mine"):
            edits = AppliedEdits(self._model, self._edits, self._find, self._names)
            self._of_thread.mine = edits, dict(edits.hooks())
        mine: tuple[AppliedEdits, dict[str, Callable[..., Tensor | None]]] = self._of_thread.mine
        return mine

    def _adds(self, name: str) -> Callable[..., Tensor | None]:
        """A hook that runs this thread's own hook of a name."""

        def add(value: Tensor, hook: Any) -> Tensor | None:
            return self._mine()[1][name](value, hook) if self._act else None

        return add
