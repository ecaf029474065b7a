"""One model in many threads: each call gets what it would get alone, and nothing waits for ever.

`LAFN_VIZ_STRESS_SECONDS=60` makes the last test, in which threads chosen at random run against each
other, as long as that.
"""

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from made_up_edits import an_edit, ids, logits

import lafn_viz as lv
from lafn_viz.editing.baselines.weight_edits import WeightEdit
from lafn_viz.models.generation import generate
from lafn_viz.models.hooks import down_weight

SECONDS = float(os.environ.get("LAFN_VIZ_STRESS_SECONDS", "6"))
QUESTIONS = [
    lv.Prompt.of("The capital of Japan is", "Tokyo", subject="Japan"),
    lv.Prompt.of("The capital of France is", "Paris", subject="France"),
    lv.Prompt.of("La capitale de la France est", "Paris", subject="France", language="fr"),
]


def in_a_thread(function):
    """Run a function in a thread of its own and return what it returns."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(timeout=60)


def scores(model):
    return lv.score_answers(model, QUESTIONS).log_prob


def a_weight_edit(model):
    weight = down_weight(model, 1)
    return WeightEdit({1: torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))})


def test_edits_act_in_the_calls_of_their_own_thread_alone(embedded):
    plain = scores(embedded)
    with lv.edited(embedded, an_edit(embedded)) as fired:
        edited = scores(embedded)
        assert not torch.equal(edited, plain)
        assert torch.equal(in_a_thread(lambda: scores(embedded)), plain)
        assert torch.equal(scores(embedded), edited)
        lv.score_answers(embedded, QUESTIONS[:1])
        in_a_thread(lambda: scores(embedded))
        assert [hit.edit.subject_id for hit in fired] == ["JP"]

        def with_another():
            with lv.edited(embedded, an_edit(embedded, seed=1)):
                return scores(embedded)

        both = in_a_thread(with_another)
    with lv.edited(embedded, an_edit(embedded, seed=1)):
        assert torch.equal(scores(embedded), both)


def test_a_pass_of_ones_own_sees_the_edits_in_every_thread(embedded):
    tokens = ids(embedded, "The capital of Japan is")
    with lv.edited(embedded, an_edit(embedded)) as fired:
        expected = logits(embedded, tokens)
        fired.clear()
        assert torch.equal(in_a_thread(lambda: logits(embedded, tokens)), expected)
        assert [hit.edit.subject_id for hit in fired] == ["JP"]

        def generated():
            return embedded.original_model.generate(tokens, max_new_tokens=4, do_sample=False)

        assert torch.equal(in_a_thread(generated), generated())


def test_what_one_thread_has_read_is_no_matter_of_another(embedded):
    """A thread goes on from its key/value cache after another one has read other texts."""
    first, other = (ids(embedded, text) for text in ("The capital of Japan", "A text of four"))
    with lv.edited(embedded, an_edit(embedded)):
        output = embedded.original_model(first, use_cache=True)
        last = output.logits.argmax(-1)[:, -1:]
        in_a_thread(lambda: logits(embedded, other.repeat(3, 1)))
        with torch.no_grad():
            after = embedded.original_model(last, past_key_values=output.past_key_values).logits
        whole = logits(embedded, torch.cat([first, last], 1))[:, -1:]
    torch.testing.assert_close(after, whole, rtol=1e-4, atol=1e-4)


def test_changed_weights_keep_other_calls_waiting(embedded):
    plain, before = scores(embedded), down_weight(embedded, 1).clone()
    with ThreadPoolExecutor(1) as pool:
        with a_weight_edit(embedded).applied(embedded):
            other = pool.submit(scores, embedded)
            assert not torch.equal(scores(embedded), plain)
            with pytest.raises(TimeoutError):
                other.result(timeout=0.2)
        assert torch.equal(other.result(timeout=60), plain)
    assert torch.equal(down_weight(embedded, 1), before)


def test_an_explorer_is_not_waited_for_where_it_would_wait_itself(embedded):
    with a_weight_edit(embedded).applied(embedded):
        explorer = lv.PromptExplorer(embedded)
        with pytest.raises(RuntimeError, match=r"call wait\(\) after the block"):
            explorer.wait()
    explorer.wait()
    assert not explorer.status.is_error


@pytest.mark.slow
def test_threads_at_random(embedded):
    edit, change = an_edit(embedded), a_weight_edit(embedded)
    plain, attributed = scores(embedded), lv.attribute(embedded, QUESTIONS).values
    texts = [item.text for item in generate(embedded, QUESTIONS)]
    with lv.edited(embedded, edit):
        edited = scores(embedded)
    with change.applied(embedded):
        changed = scores(embedded)

    def score():
        assert torch.equal(scores(embedded), plain)

    def score_one():
        one = lv.score_answers(embedded, QUESTIONS[:1]).log_prob
        torch.testing.assert_close(one, plain[:1])

    def attribute():
        assert torch.equal(lv.attribute(embedded, QUESTIONS).values, attributed)

    def write():
        assert [item.text for item in generate(embedded, QUESTIONS)] == texts

    def edit_and_score():
        with lv.edited(embedded, edit):
            assert torch.equal(scores(embedded), edited)

    def change_and_score():
        with change.applied(embedded):
            assert torch.equal(scores(embedded), changed)

    def intervene():
        lv.intervene(embedded, QUESTIONS, [(0, 1), (1, 3)], controls=1)

    def explore_and_cancel():
        explorer = lv.PromptExplorer(embedded)
        time.sleep(0.1)
        explorer.stop()

    def read():
        # A pass of one's own takes no lock. Where another thread applies an edit in the middle of
        # it, it is refused.
        with contextlib.suppress(lv.EditError):
            logits(embedded, ids(embedded, QUESTIONS[0].text).repeat(2, 1))

    work = [
        score, score_one, attribute, write, edit_and_score, change_and_score, intervene,
        explore_and_cancel, read,
    ]  # fmt: skip
    stop, failures, done = time.monotonic() + SECONDS, [], dict.fromkeys(work, 0)

    def again_and_again(function):
        while time.monotonic() < stop and not failures:
            try:
                function()
                done[function] += 1
            except BaseException as error:
                failures.append((function.__name__, error))

    threads = [threading.Thread(target=again_and_again, args=[f], daemon=True) for f in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 120)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    assert min(done.values()) > 0
    assert torch.equal(scores(embedded), plain)
