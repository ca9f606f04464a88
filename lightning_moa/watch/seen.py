"""What is seen of the runs in a folder at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightning_moa.reporting.remaining import Left, Part, kind_of, left_of
from lightning_moa.reporting.under_way import FINISHED, Asked, Start
from lightning_moa.watch.files import Series

DONE = "done"
AT_WORK = "at work"
FAILED = "failed"
STOPPED = "stopped"
"""It left a checkpoint, and goes on from there when its study is started again."""
KILLED = "killed"
"""Its process is gone, and has said nothing."""
WAITING = "waiting"
NOT_BEGUN = "not begun"
STATES = (DONE, AT_WORK, WAITING, FAILED, STOPPED, KILLED, NOT_BEGUN)


@dataclass(frozen=True)
class Run:
    """Times are in seconds."""

    key: str
    name: str
    state: str
    share: float = 0.0
    """Of its work, done."""
    before: float = 0.0
    """Of its work, done by an earlier start."""
    seconds: float | None = None
    """That it has taken so far, or did; None: not told."""
    left: float | None = None
    """Until it is done; None: not known."""
    silent: float | None = None
    """Since it last wrote anything."""
    elsewhere: str | None = None
    """Another machine that it is made on, where nobody here can see whether its process lives."""
    said: str = ""
    """What became of it, in a line."""
    series: Series = field(default_factory=dict)

    @property
    def update(self) -> int | None:
        """The last update that its log tells of, counted from 1."""
        last = [steps[-1][0] for name, steps in self.series.items() if name.partition("/")[0] != "grid"]
        return int(max(last)) + 1 if last else None


@dataclass(frozen=True)
class Study:
    """A start of a study, and its runs in the order in which it asks for them."""

    start: Start
    runs: list[Run]
    alive: bool | None
    """Whether its process is; None: it is another machine's, and has not said that it has ended."""
    age: float
    """Seconds since it began."""
    silent: float | None
    """Seconds since any of its runs wrote anything; since its end, of one that has ended."""
    machine: str | None
    """None: this one."""

    @property
    def state(self) -> str:
        """`in progress`, `finished`, `killed`, or what ended it."""
        if self.start.how is not None:
            return self.start.how
        if self.alive is False:
            return FINISHED if all(run.state == DONE for run in self.runs) else KILLED
        return "in progress"

    @property
    def share(self) -> float:
        """Of the work that this start found to do, done."""
        whole = sum(asked.cost for asked, _ in self._todo())
        return sum(asked.cost * run.share for asked, run in self._todo()) / whole if whole else 1.0

    @property
    def left(self) -> Left | None:
        """Time until its last run is done, as far as those at work and done have told; None: it can't be known."""
        if self.state != "in progress":
            return None
        waited = [(asked, run) for asked, run in self._todo() if run.state not in (FAILED, KILLED)]
        parts = [
            Part(kind_of(asked.key), asked.cost, run.share, run.before, run.seconds or 0.0, run.left)
            for asked, run in waited
        ]
        return left_of(parts, self.start.workers)

    def _todo(self) -> list[tuple[Asked, Run]]:
        pairs = zip(self.start.runs, self.runs, strict=True)
        return [(asked, run) for asked, run in pairs if not asked.there]


@dataclass(frozen=True)
class Seen:
    """A folder of runs."""

    studies: list[Study]
    """Those in progress first, then the last to end."""
    others: list[Run]
    """Not done, and asked for by no start that is told of."""
    done: int
    """Runs that are there."""
    problems: list[str]
    """What can't be read."""
