"""`moa compare`: its help."""

from __future__ import annotations

import pytest

from lightning_moa.cli import main
from lightning_moa.reporting.schema import SPACES


def test_the_help_names_every_space(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    said = capsys.readouterr().out
    mine = said.partition("  --space SPACE")[2].partition("  --")[0]
    assert [space for space in SPACES if space not in mine] == []
