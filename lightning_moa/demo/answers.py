"""What one request is answered with: answers at its preference, of the reference, at the corners; and rewards."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lightning_moa.demo.best import Best
from lightning_moa.demo.line import Event, Work
from lightning_moa.errors import UserError
from lightning_moa.inference.found import TrainedMethod
from lightning_moa.inference.loading import Loaded, Opened
from lightning_moa.inference.preferences import as_preference
from lightning_moa.inference.scoring import measured_rewards
from lightning_moa.rewards import Rewards

KEPT = 512
"""Answers that are remembered: the reference's and the corners' are those of the last preference."""
EVERY = 0.05
"""Seconds between two states of an answer that is told while it is sampled."""
Key = tuple[int, str, str]


@dataclass(frozen=True)
class Choice:
    """A trained policy that a page offers."""

    label: str
    objectives: tuple[str, ...]
    load: Callable[[], Loaded]
    study: TrainedMethod | None
    """None: a policy's own folder, whose answers nobody scores."""
    own: Sequence[Any] = ()
    """What is from outside and named by the caller."""


@dataclass(frozen=True)
class Asked:
    """One of the answers to a request."""

    name: str
    """`chosen`, `reference`, or an objective, whose corner it is."""
    preference: tuple[float, ...]


class Answers:
    """Answers requests, one at a time; one of the choices is in memory.

    Args:
        choices: what can be asked.
        policy: by name, for methods whose policies know no preference.
        device: where reward models are put.
    """

    def __init__(self, choices: Sequence[Choice], policy: str | None = None, device: str = "cpu") -> None:
        self.choices = choices
        self._policy = policy
        self._device = device
        self._number: int | None = None
        self._known: OrderedDict[Key, Event] = OrderedDict()

    def request(self, number: Any, prompt: Any, preference: Any) -> Work:
        """What answers a request; its events are `loading`, where another choice is in memory, `answer` (`which`,
        `text`, `done`; then `at`, `rewards`), and `best`.

        Args:
            number: of the choice.
            prompt: its text.
            preference: m weights.

        Raises:
            UserError: another choice, an empty prompt, no preference.
        """
        if type(number) is not int or not 0 <= number < len(self.choices):
            raise UserError(f"policy: allowed are the numbers 0 to {len(self.choices) - 1}")
        if not isinstance(prompt, str) or not prompt.strip():
            raise UserError("prompt: a text is needed")
        objectives = self.choices[number].objectives
        weights = as_preference(preference, objectives)
        m = len(objectives)
        corners = [Asked(name, tuple(row)) for name, row in zip(objectives, np.eye(m).tolist(), strict=True)]
        chosen = Asked("chosen", tuple(weights.tolist()))

        def work(tell: Callable[[Event], None]) -> None:
            self._use(number, tell)
            for asked in (chosen, Asked("reference", chosen.preference), *corners):
                tell(self._answer(asked, prompt, tell))
            best = None if self._best is None else self._best.response(prompt, weights)
            tell({"event": "best", "text": best and best[0], "rewards": best and best[1]})

        return work

    def _use(self, number: int, tell: Callable[[Event], None]) -> None:
        """Load a choice, in the place of the one before it."""
        if number == self._number:
            return
        tell({"event": "loading"})
        choice = self.choices[number]
        # The former one's memory is given back before the next one takes its own.
        self._number, self._loaded = None, None
        self._loaded = choice.load()
        self._space, self._scores = _scores(choice, self._device)
        self._best = None if choice.study is None else Best(self._loaded.spec)
        self._number = number

    def _answer(self, asked: Asked, prompt: str, tell: Callable[[Event], None]) -> Event:
        """The event that ends an answer; those before it are told."""
        place = "reference" if asked.name == "reference" else " ".join(map(repr, asked.preference))
        key = (self._number or 0, prompt, place)
        if key not in self._known:
            self._known[key] = self._sampled(asked, prompt, tell)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return {**self._known[key], "which": asked.name}

    def _sampled(self, asked: Asked, prompt: str, tell: Callable[[Event], None]) -> Event:
        loaded = self._loaded
        assert loaded is not None
        opened = loaded.open(list(asked.preference), self._policy)
        reference = asked.name == "reference"
        if reference:
            opened = replace(opened, deployed=replace(opened.deployed, rewrite=None))
        last = 0.0

        def watch(texts: list[str]) -> None:
            nonlocal last
            if time.monotonic() - last >= EVERY:
                last = time.monotonic()
                tell({"event": "answer", "which": asked.name, "text": texts[0], "done": False})

        with opened.policy.reference() if reference else nullcontext():
            (text,) = loaded.answer(opened, [prompt], watch=watch)
        # As in a study's measurements, an answer is scored to what its policy was shown.
        shown = loaded.shown(opened, prompt)
        rewards, said = self._rewards(shown, text)
        if shown != prompt:
            said = "; ".join(filter(None, ["the prompt is too long, its start was cut", said]))
        return {
            "event": "answer",
            "text": text,
            "done": True,
            "at": None if reference else _at(opened),
            "rewards": rewards,
            "space": self._space,
            "said": said,
        }

    def _rewards(self, prompt: str, text: str) -> tuple[list[float] | None, str | None]:
        """(m,) in the objectives' order; where there are none, why."""
        if self._scores is None:
            return None, None
        try:
            row = self._scores.scores([prompt], [text])[0]
        except UserError as error:
            return None, str(error)
        found = dict(zip(self._scores.objectives, row.tolist(), strict=True))
        assert self._loaded is not None
        return [found[name] for name in self._loaded.objectives], None


def _at(opened: Opened) -> list[float] | None:
    """The preference that a policy was given; None: it knows none."""
    return None if opened.preference is None else opened.preference.tolist()


def _scores(choice: Choice, device: str) -> tuple[str | None, Rewards | None]:
    """Gold rewards where the world is known, else what the study measured with."""
    found = {} if choice.study is None else measured_rewards(choice.study, 1, device, choice.own)
    return next(((space, found[space]) for space in ("gold", "reward") if space in found), (None, None))


def prompts_of(choices: Sequence[Choice], most: int) -> Iterator[list[str]]:
    """Held-out prompts of each choice."""
    for choice in choices:
        yield [] if choice.study is None else choice.study.prompts(most)
