"""How methods look in every figure: one colour, marker and label a method, safe for colour-blind readers."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E8E8E8",
    "grid.linewidth": 0.7,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}
"""matplotlib settings of all figures; `pdf.fonttype` 42 keeps text in PDFs selectable."""


@dataclass(frozen=True)
class Style:
    """A method's look; `marker` is matplotlib's."""

    label: str
    colour: str
    marker: str


# Okabe and Ito's palette without yellow and black, then Paul Tol's muted one: distinct for the common kinds
# of colour blindness. Markers tell methods apart where colours come close.
KNOWN = {
    "panacea": Style("Panacea", "#0072B2", "o"),
    "panaceals": Style("Panacea-LS", "#0072B2", "o"),
    "panaceatche": Style("Panacea-Tche", "#CC79A7", "D"),
    "panaceaasallofrewardedsoups": Style("Panacea, updates of all RS policies", "#56B4E9", "v"),
    "panaceaasallofdps": Style("Panacea, updates of all DPS policies", "#332288", "D"),
    "panacealsasallofrewardedsoups": Style("Panacea-LS, updates of all RS policies", "#56B4E9", "v"),
    "panacealsasallofdps": Style("Panacea-LS, updates of all DPS policies", "#332288", "P"),
    "panaceatcheasallofrewardedsoups": Style("Panacea-Tche, updates of all RS policies", "#CC6677", "<"),
    "panaceatcheasallofdps": Style("Panacea-Tche, updates of all DPS policies", "#882255", "X"),
    "rewardedsoups": Style("Rewarded Soups", "#D55E00", "^"),
    "dps": Style("DPS", "#009E73", "s"),
    "morlhf": Style("MORLHF", "#56B4E9", "s"),
    "ham": Style("HaM", "#882255", "P"),
    "sca": Style("SCA", "#E69F00", "v"),
    "scaheads": Style("SCA, heads", "#56B4E9", "<"),
    "ric": Style("RiC", "#117733", "X"),
    "modpo": Style("MODPO", "#AA4499", "d"),
    "gapo": Style("GAPO", "#332288", "o"),
    "gapop1": Style("GAPO, p = 1", "#332288", "o"),
    "gapop2": Style("GAPO, p = 2", "#88CCEE", "h"),
    "pgapo": Style("P-GAPO", "#332288", "D"),
    "mgda": Style("MGDA", "#CC6677", "<"),
    "saferlhf": Style("Safe RLHF", "#999933", ">"),
    "ppoh": Style("PPO-H", "#D55E00", "+"),
    "ppos": Style("PPO-S", "#009E73", "x"),
    "ppohelpful": Style("PPO on helpful", "#E69F00", "P"),
    "ppoharmless": Style("PPO on harmless", "#009E73", "X"),
    "linear": Style("Linear", "#AA4499", "v"),
    "fastrl": Style("Fast RL", "#CC79A7", "p"),
    "sft": Style("SFT", "#777777", "*"),
}
SPARE_COLOURS = ("#CC79A7", "#44AA99", "#E69F00", "#56B4E9", "#CC6677", "#332288", "#999933", "#117733")
SPARE_MARKERS = ("D", "v", "P", "X", "<", ">", "h", "d")


def styles_of(methods: Iterable[str]) -> dict[str, Style]:
    """A style for each method, in the given order.

    Known methods look the same in every figure however they are spelt ("rewarded_soups", "Rewarded Soups").
    An unknown one gets a look that follows from its name, or the next free one if another method of the same
    figure has it.
    """
    methods = list(dict.fromkeys(methods))
    found = {name: KNOWN[_key(name)] for name in methods if _key(name) in KNOWN}
    taken = {style.colour for style in found.values()}
    for name in sorted(set(methods) - set(found)):
        start = zlib.crc32(name.encode())
        order = [(start + i) % len(SPARE_COLOURS) for i in range(len(SPARE_COLOURS))]
        index = next((i for i in order if SPARE_COLOURS[i] not in taken), order[0])
        taken.add(SPARE_COLOURS[index])
        marker = SPARE_MARKERS[(index + len(taken)) % len(SPARE_MARKERS)]
        label = re.sub("^ppo ", "PPO on ", name.replace("_", " "))
        found[name] = Style(label, SPARE_COLOURS[index], marker)
    return {name: found[name] for name in methods}


def _key(method: str) -> str:
    return re.sub(r"[^a-z0-9]", "", method.lower())
