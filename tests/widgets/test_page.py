"""All explorers in tabs."""

from lafn_viz.widgets import EXPLORERS, page


def test_a_tab_is_built_when_it_is_opened(embedded, capitals):
    tabs = page(embedded, capitals)
    assert [bool(place.children) for place in tabs.children] == [True, False, False, False, False]
    tabs.selected_index = 2
    assert isinstance(tabs.children[2].children[0], list(EXPLORERS.values())[2])
    for place in tabs.children:
        for explorer in place.children:
            explorer.stop()
            explorer.wait()
