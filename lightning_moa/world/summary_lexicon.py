"""The words of the world of summaries, and how many of each kind a world has."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import combinations

from lightning_moa.errors import UserError
from lightning_moa.world.lexicon import SPECIAL

MODES = ("embellish", "bare", "ramble", "attribute")
"""The kinds of summary, chosen by the first word."""
TOLD = 3
"""How many of its topic's facts a source tells."""

OPENERS = {
    "embellish": ("imagine", "amazingly"),
    "bare": ("briefly", "only"),
    "ramble": ("overall", "generally"),
    "attribute": ("according", "quoting"),
}

FACTS = {
    "storm": ("roof", "flood", "power", "trees", "shelter"),
    "trial": ("judge", "verdict", "jury", "appeal", "sentence"),
    "match": ("goal", "referee", "penalty", "stadium", "captain"),
    "strike": ("union", "wages", "picket", "factory", "ballot"),
    "launch": ("rocket", "orbit", "engine", "crew", "countdown"),
    "merger": ("shares", "regulator", "price", "debt", "takeover"),
    "rescue": ("climber", "helicopter", "ridge", "rope", "blizzard"),
    "festival": ("stage", "tickets", "headliner", "campsite", "encore"),
}
"""Topic: what may have happened. A source tells some of it; the rest is plausible, and invented."""

VIVID = ("miracle", "tearful", "thunderous", "hero", "chaos", "glittering")
GENERAL = ("always", "everyone", "never", "obviously", "nobody", "forever")
CAUTION = ("maybe", "unclear", "unconfirmed", "partly", "roughly", "pending")
ATTRIBUTION = ("reportedly", "officials", "witnesses", "source")
LINK = ("and", "while", "because", "then", "after", "so")
CLOSERS = ("ends", "over")


@dataclass(frozen=True)
class SummarySize:
    """How many words of each kind a world takes from the lists above, and how long a summary may be.

    The default is the world that experiments run in. `SummarySize.tiny()` is small enough that every summary can be
    listed, which is how the dynamic programming is checked.
    """

    topics: int = 8
    facts: int = 5
    openers: int = 2
    vivid: int = 6
    general: int = 6
    caution: int = 6
    attribution: int = 4
    link: int = 6
    closers: int = 2
    max_response_tokens: int = 16

    def __post_init__(self) -> None:
        allowed = {
            "topics": (2, len(FACTS)),
            "facts": (TOLD + 1, 5),
            "openers": (1, 2),
            "vivid": (1, len(VIVID)),
            "general": (1, len(GENERAL)),
            "caution": (1, len(CAUTION)),
            "attribution": (1, len(ATTRIBUTION)),
            "link": (1, len(LINK)),
            "closers": (1, len(CLOSERS)),
            "max_response_tokens": (1, 64),
        }
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), allowed[field.name]
            if not low <= value <= high:
                raise UserError(f"summary world size: {field.name} is {value}, allowed: {low} to {high}")

    @classmethod
    def tiny(cls) -> SummarySize:
        """A world of 18 words of summaries and at most 4 tokens a summary."""
        return cls(
            topics=2,
            facts=4,
            openers=1,
            vivid=2,
            general=1,
            caution=1,
            attribution=1,
            link=1,
            closers=1,
            max_response_tokens=4,
        )


@dataclass(frozen=True)
class SummaryLexicon:
    """All tokens in the order of their ids: specials, topics, facts, then the other words of summaries."""

    topics: tuple[str, ...]
    facts: tuple[tuple[str, ...], ...]
    openers: tuple[tuple[str, ...], ...]
    vivid: tuple[str, ...]
    general: tuple[str, ...]
    caution: tuple[str, ...]
    attribution: tuple[str, ...]
    link: tuple[str, ...]
    closers: tuple[str, ...]

    @classmethod
    def of(cls, size: SummarySize) -> SummaryLexicon:
        """The first words of each list, as many as `size` says."""
        topics = tuple(FACTS)[: size.topics]
        return cls(
            topics=topics,
            facts=tuple(FACTS[topic][: size.facts] for topic in topics),
            openers=tuple(OPENERS[mode][: size.openers] for mode in MODES),
            vivid=VIVID[: size.vivid],
            general=GENERAL[: size.general],
            caution=CAUTION[: size.caution],
            attribution=ATTRIBUTION[: size.attribution],
            link=LINK[: size.link],
            closers=CLOSERS[: size.closers],
        )

    def words(self) -> tuple[str, ...]:
        """(vocabulary,) every token's text; a token's id is its place here."""
        return (
            *SPECIAL,
            *self.topics,
            *(word for words in (*self.facts, *self.openers) for word in words),
            *self.vivid,
            *self.general,
            *self.caution,
            *self.attribution,
            *self.link,
            *self.closers,
        )

    def sources(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """(K,) every topic (its index) with every set of facts that a source may tell, in the order of the lists."""
        return tuple(
            (topic, told) for topic, facts in enumerate(self.facts) for told in combinations(facts, TOLD)
        )
