"""All explorers in tabs."""

import ipywidgets as w

from lafn_viz.widgets import EXPLORERS, page
from lafn_viz.widgets.help import HELP


def test_a_tab_is_built_when_it_is_opened(embedded, capitals):
    tabs = page(embedded, capitals)
    assert [bool(place.children) for place in tabs.children] == [True, False, False, False, False]
    tabs.selected_index = 2
    assert isinstance(tabs.children[2].children[0], list(EXPLORERS.values())[2])
    for place in tabs.children:
        for explorer in place.children:
            explorer.stop()
            explorer.wait()


def controls(widget):
    """What a person can set or press in a widget."""
    is_shown_only = isinstance(widget, w.HTML | w.FloatProgress)
    if isinstance(widget, w.Button | w.ValueWidget) and not is_shown_only:
        yield widget
    for child in getattr(widget, "children", ()):
        yield from controls(child)


def test_each_control_has_a_help_text(embedded, capitals):
    for explorer_class in EXPLORERS.values():
        explorer = explorer_class(embedded, capitals)
        without = [
            control.description or type(control).__name__
            for control in controls(explorer)
            if not HELP.keys() & set(control._dom_classes)
        ]
        assert not without, f"{explorer_class.__name__}: no help for {', '.join(without)}"
        assert "<dt>agnostic</dt>" in explorer.heading.value
        explorer.stop()
        explorer.wait()
