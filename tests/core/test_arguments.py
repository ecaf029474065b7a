"""Arguments are read before a function runs: what can be meant is taken, the rest is refused."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import lafn_viz as lv
from lafn_viz.core import arguments as a


@pytest.mark.parametrize("given", [3, 3.0, np.int64(3), np.array(3), torch.tensor(3), True])
def test_a_whole_number_may_be_pythons_or_of_a_library_but_no_truth_value(given):
    if given is True:
        with pytest.raises(ValueError, match=r"n=True; give a whole number of 1 or more"):
            a.whole(1)("n", given)
    else:
        assert type(a.whole(1)("n", given)) is int
        assert a.whole(1)("n", given) == 3


@pytest.mark.parametrize(
    "given", [0, -1, 2.5, float("nan"), float("inf"), "3", None, [3], torch.tensor([3]), object()]
)
def test_anything_else_is_no_whole_number(given):
    with pytest.raises(ValueError, match="give a whole number of 1 or more"):
        a.whole(1)("n", given)


@pytest.mark.parametrize("given", [0, 0.5, np.float32(0.5), torch.tensor(0.25)])
def test_a_number_in_its_range_is_taken(given):
    assert a.real(least=0, below=1)("share", given) == float(given)


@pytest.mark.parametrize("given", [1, -0.1, float("nan"), True, "0.5", None])
def test_a_number_outside_its_range_is_refused(given):
    with pytest.raises(ValueError, match="give a number that is at least 0 and below 1"):
        a.real(least=0, below=1)("share", given)


def test_a_flag_is_no_text():
    assert a.a_flag("progress", np.True_) is True
    with pytest.raises(ValueError, match="progress='no'; give True or False"):
        a.a_flag("progress", "no")


@pytest.mark.parametrize("given", ["ab", ["ab"], ("ab",), iter(["ab"]), pd.Series(["ab"])])
def test_one_text_is_no_list_of_letters(given):
    assert a.some_texts("languages", given) == ("ab",)


@pytest.mark.parametrize(
    "given", [5, None, [5], b"ab", {"ab"}, {"ab": 1}, pd.DataFrame({"ab": []})]
)
def test_what_has_no_order_or_holds_something_else_is_no_list_of_texts(given):
    with pytest.raises(ValueError, match="give a text or a list of texts"):
        a.some_texts("languages", given)


def test_an_argument_is_read_however_it_is_given_and_before_the_function_runs():
    calls = []

    @a.takes(n=a.whole(1), top=a.whole(1))
    def function(m: object, n: int = 0, *rest: object, **options: object) -> object:
        calls.append((m, n, rest, options))
        return calls[-1]

    n = np.int64(2)
    assert function(n, n, "x", top=2.0) == (n, 2, ("x",), {"top": 2})
    assert function(m=1, n=n) == function(1, n)
    assert function(1) == (1, 0, (), {})  # a default is not read
    made = len(calls)
    with pytest.raises(ValueError, match="top=0"):
        function(1, 2, top=0)
    with pytest.raises(TypeError, match=r"function\(\) missing 1 required positional"):
        function()
    assert len(calls) == made


@pytest.mark.parametrize(("kind", "call"), a.RETURNED_BY.items())
def test_each_result_is_returned_by_the_call_that_its_sentence_names(kind, call):
    function = lv
    for part in call.removesuffix("()").split("."):
        function = getattr(function, part)
    assert re.search(rf"\b{kind}\b", str(function.__annotations__["return"]))
