"""The README's columns of verdicts, from the committed results: python -m lightning_moa.reporting.readme"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lightning_moa.reporting.catalogue import Claims, Standing, find_root, standings
from lightning_moa.reporting.files import read_text, write_atomically
from lightning_moa.reporting.schema import OURS, PAPER
from lightning_moa.reporting.verdicts import FAILS, HOLDS, IS_LEVEL

SCALE = "tiny"
COMMAND = re.compile(r"`python experiments/(?P<paper>\w+)/(?P<script>\w+)\.py(?: \w+=(?P<word>\w+))?`")


def with_verdicts(text: str, found: Sequence[Standing]) -> str:
    """The page with the last two cells of each table row that has a script's command written anew.

    Args:
        text: the page. A command's `key=word` makes the artefact `<script>_<word>`, where there is one.
        found: of `standings`.
    """
    known = {(each.artefact.paper, each.artefact.name): each.scales.get(SCALE, {}) for each in found}
    return "\n".join(_line(line, known) for line in text.split("\n"))


def _line(line: str, known: Mapping[tuple[str, str], Mapping[str, Claims]]) -> str:
    command = COMMAND.search(line)
    if command is None or not line.startswith("| "):
        return line
    paper, script, word = command.group("paper", "script", "word")
    names = [(paper, f"{script}_{word}"), (paper, script)]
    claims = next((known[name] for name in names if name in known), {})
    cells = [cell.strip() for cell in line.strip()[1:-1].split("|")][:-2]
    cells += [held(claims[whose]) if whose in claims else "-" for whose in (PAPER, OURS)]
    return f"| {' | '.join(cells)} |"


def held(claims: Claims) -> str:
    """Such as `7 of 12 (5 with Holm), 2 level, 1 fail`; `-` where nothing was judged."""
    if not claims.claims:
        return "-"
    holds, left = claims.alone[HOLDS], claims.adjusted[HOLDS]
    holm = f" ({left} with Holm)" if left != holds else ""
    others = {"level": claims.alone[IS_LEVEL], "fail": claims.alone[FAILS]}
    return f"{holds} of {claims.claims}{holm}" + "".join(f", {n} {word}" for word, n in others.items() if n)


if __name__ == "__main__":
    root = find_root()
    write_atomically(root / "README.md", with_verdicts(read_text(root / "README.md"), standings(root)))
