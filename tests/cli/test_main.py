import pytest

import lafn_viz as lv
from lafn_viz.cli.main import main


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"lafn-viz {lv.__version__}\n"
