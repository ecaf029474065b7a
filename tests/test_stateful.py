"""Whatever is done with a model, in whatever order and however it ends: it is left as it was."""

import contextlib
import hashlib

import pytest
import torch
from fuzzing import TIMES
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import lafn_viz as lv
from lafn_viz.editing import baselines
from lafn_viz.editing.baselines.weight_edits import WeightEdit
from lafn_viz.models.hooks import down_weight, hook_post
from lafn_viz.widgets.background import Cancelled, Worker

STEPS = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # shrinking what fails would take many minutes
    max_examples=10 * TIMES,
    stateful_step_count=12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NEURONS = [(0, 3), (1, 7), (2, 40)]
ENDS = st.sampled_from([RuntimeError("on purpose"), KeyboardInterrupt(), Cancelled()])


def hooks_of(model) -> int:
    """All hooks that there are: of torch on every module, and of TransformerLens."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    count = sum(len(getattr(m, kind)) for m in model.modules() for kind in kinds)
    count += sum(len(getattr(model.original_model, kind)) for kind in kinds)
    return count + sum(
        len(point.fwd_hooks) + len(point.bwd_hooks) for point in set(model.hook_dict.values())
    )


def weights_of(model) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(model.original_model.state_dict().items()):
        digest.update(name.encode() + weight.numpy().tobytes())
    return digest.hexdigest()


def state_of(model) -> dict[str, object]:
    return {
        "hooks": hooks_of(model),
        "gradients": [p.grad is not None for p in model.original_model.parameters()],
        "requires": [p.requires_grad for p in model.original_model.parameters()],
        "training": [m.training for m in model.original_model.modules()],
        "grad mode": torch.is_grad_enabled(),
        "random": torch.get_rng_state().tolist(),
        "level": getattr(model, "context_level", 0),
    }


@pytest.fixture(scope="module")
def given(tiny, facts):
    """(model, prompts, cases, edits, weight edits), made once."""
    model = tiny("gpt2")
    some = facts.filter(relation="capital", languages=["en", "ru"], subjects=["FR", "JP"])
    cases = [
        lv.counterfactual_case(
            some, subject=name, relation="capital", new_object=new, languages=["en", "ru"]
        )
        for name, new in (("JP", "Paris"), ("FR", "Tokyo"))
    ]
    before = weights_of(model)
    edits = [
        lv.edit_case(model, case, neurons=NEURONS, position=position)
        for case, position in zip(cases, ("from_subject", "answer"), strict=True)
    ]
    editors = [
        baselines.rome(corpus=some.prompts(), evaluations=3),
        baselines.memit(layers=(0, 1), corpus=some.prompts(), evaluations=3),
        baselines.fine_tuning(steps=2),
    ]
    changes = [one.edit(model, cases[0], ("en", "ru")) for one in editors]
    changes.append(
        WeightEdit({layer: torch.full_like(down_weight(model, layer), 0.1) for layer in (0, 2)})
    )
    assert weights_of(model) == before
    assert all(isinstance(change, WeightEdit) and change.changes for change in changes)
    return model, some.prompts()[::13], cases, edits, changes


@pytest.mark.slow
def test_a_model_is_left_as_it_was(given):
    model, prompts, cases, edits, changes = given
    tokens = model.tokenizer("The capital of Japan is", return_tensors="pt")["input_ids"]

    def logits():
        with torch.no_grad():
            return model(tokens)

    start, plain, weights = state_of(model), logits(), weights_of(model)
    downs = [down_weight(model, layer).clone() for layer in range(3)]

    class Model(RuleBasedStateMachine):
        """Contexts that are open, each with the weight edit in it, if it is one."""

        @initialize()
        def begin(self):
            self.open = []

        def attempt(self, work):
            """Work that reads in pieces is refused while edits of a cache are applied."""
            applied = any(change is None for _, change in self.open)
            with contextlib.suppress(lv.EditError) if applied else contextlib.nullcontext():
                work()

        def enter(self, context, change=None):
            context.__enter__()
            self.open.append((context, change))

        @rule(method=st.sampled_from(["integrated_gradients", "amig", "activation", "gradient"]))
        def attribute(self, method):
            self.attempt(lambda: lv.attribute(model, prompts[:2], method=method, n_steps=3))

        @rule(how=st.sampled_from(["zero", "scale"]))
        def intervene(self, how):
            options = {"how": how, "factor": 2.0, "controls": 1}
            self.attempt(lambda: lv.intervene(model, prompts[:2], NEURONS, **options))

        @rule()
        def effects(self):
            sets = {"some": {prompt.fact_id: NEURONS for prompt in prompts}}
            self.attempt(lambda: lv.effects(model, sets, prompts, controls=0))

        @rule(number=st.integers(0, 1))
        def edit(self, number):
            self.attempt(lambda: lv.edit_case(model, cases[number], neurons=NEURONS[:1]))

        @rule(which=st.sampled_from([[0], [1], [0, 1]]))
        def enter_edits(self, which):
            """Edits of the weights as they were are refused while an editor has changed some."""
            changed = any(change is not None for _, change in self.open)
            with pytest.raises(lv.EditError) if changed else contextlib.nullcontext():
                self.enter(lv.edited(model, *(edits[i] for i in which)))

        @rule(which=st.integers(0, 3))
        def enter_weights(self, which):
            self.enter(changes[which].applied(model), changes[which])

        @precondition(lambda self: self.open)
        @rule(data=st.data(), error=st.none() | ENDS)
        def leave(self, data, error):
            """Any of those that are open, not only the last."""
            context, _ = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
            if error is None:
                context.__exit__(None, None, None)
            else:
                assert not context.__exit__(type(error), error, error.__traceback__)

        @rule(error=ENDS, at=st.integers(0, 4), what=st.sampled_from(["attribute", "edit", "rome"]))
        def stop_in_a_hook(self, error, at, what):
            """Work ends within a pass of the model."""
            seen = []

            def stop(value, hook):
                seen.append(hook.name)
                if len(seen) > at:
                    raise error

            work = {
                "attribute": lambda: lv.attribute(model, prompts[:2], max_rows=2),
                "edit": lambda: lv.edit_case(model, cases[0], neurons=NEURONS),
                "rome": lambda: baselines.rome(corpus=prompts, evaluations=3).edit(
                    model, cases[0], ("en",)
                ),
            }[what]
            kinds = (type(error), lv.EditError) if self.open else type(error)
            with pytest.raises(kinds), model.hooks(fwd_hooks=[(hook_post(1), stop)]):
                work()

        @rule(error=ENDS, at=st.integers(1, 5))
        def stop_at_a_step(self, error, at):
            def on_step(number, loss):
                if number == at:
                    raise error

            with pytest.raises((type(error), lv.EditError) if self.open else type(error)):
                lv.edit_case(model, cases[1], neurons=NEURONS, on_step=on_step)

        @precondition(lambda self: all(change is None for _, change in self.open))
        @rule(at=st.integers(1, 5))
        def cancel(self, at):
            """As an explorer does, whose work is in a thread of its own.

            While an editor has changed weights, that thread would wait for the end of its block.
            """
            worker, told = Worker(), []

            def compute(task):
                def on_step(number, loss):
                    if number == at:
                        task.cancel()
                    task.step(0.5, "")

                return lv.edit_case(model, cases[0], neurons=NEURONS, on_step=on_step)

            task = worker.submit(
                compute, show=lambda *_: told.append("done"), progress=lambda *_: None,
                failed=told.append,
            )  # fmt: skip
            task.finished.result(60)
            assert task.cancelled or self.open
            assert all(isinstance(said, lv.EditError) for said in told)
            assert self.open or not told

        @rule()
        def write(self):
            tokens = model.tokenizer("Japan and France", return_tensors="pt")["input_ids"]
            model.original_model.generate(tokens, max_new_tokens=2, do_sample=False)

        @invariant()
        def weights_are_those_of_what_is_open(self):
            applied = [change for _, change in getattr(self, "open", []) if change is not None]
            for layer, down in enumerate(downs):
                expected = down.clone()
                for change in applied:
                    if layer in change.changes:
                        expected += change.changes[layer]
                assert torch.equal(down_weight(model, layer), expected)

        @invariant()
        def nothing_is_left(self):
            found = state_of(model)
            if getattr(self, "open", []):
                found |= {"hooks": start["hooks"], "level": start["level"]}
            else:
                assert weights_of(model) == weights
                assert torch.equal(logits(), plain)
            assert found == start

        def teardown(self):
            for context, _ in getattr(self, "open", []):
                context.__exit__(None, None, None)
            assert state_of(model) == start
            assert weights_of(model) == weights

    run_state_machine_as_test(Model, settings=STEPS)
