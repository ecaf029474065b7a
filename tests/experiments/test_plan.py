"""A plan holds the options of a sweep, their defaults and their checks."""

from dataclasses import fields
from inspect import signature

import pytest

import lafn_viz as lv
from lafn_viz.experiments.plan import Plan, PlanOptions
from lafn_viz.experiments.stages import SelectOptions


def test_every_option_of_a_plan_is_an_option_of_a_sweep():
    assert list(PlanOptions.__annotations__) == [part.name for part in fields(Plan)]
    assert not PlanOptions.__annotations__.keys() & signature(lv.sweep).parameters.keys()


def test_the_options_of_a_selection_are_those_of_select_neurons():
    assert list(SelectOptions.__annotations__) == list(signature(lv.select_neurons).parameters)[1:]


def test_options_replace_parts_of_a_plan():
    usual = Plan(top=5)
    plan = usual.with_options(methods=["activation"], changed=iter(["languages"]), editors=None)
    assert plan.methods == ("activation",)
    assert plan.changed == ("languages",)
    assert plan.top == 5
    assert plan.editors == usual.editors
    assert usual.methods == ("integrated_gradients",)
    assert usual.with_options(editors=[]).editors == ()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"top": 0}, "top=0; give a whole number of 1 or more"),
        ({"select": {"best": 3}}, "unknown option of select_neurons 'best'; there are threshold"),
        ({"min_languages": 1}, "min_languages=1; one language shares nothing"),
    ],
)
def test_a_plan_checks_itself(options, told):
    with pytest.raises(ValueError, match=told):
        Plan().with_options(**options)


def test_an_option_that_does_not_exist():
    with pytest.raises(TypeError, match="a sweep has no option 'colour'; its options are shots"):
        lv.sweep("embedded", None, "nowhere", colour="red")


def test_a_plan_as_json_names_editors_with_their_options():
    options = Plan(editors=(lv.baselines.language_agnostic(n_neurons=7),)).to_json()
    assert options["editors"] == ["language-agnostic"]
    assert options["editor_options"]["language-agnostic"]["n_neurons"] == 7
    assert options["methods"] == ["integrated_gradients"]
    assert list(options)[-2:] == ["editor_options", "per_shard"]
