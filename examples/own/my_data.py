"""A data set of one's own: every row is a prompt, two responses, and a label for some of the objectives."""

from collections.abc import Iterator
from dataclasses import dataclass

import lightning_moa as moa

THINGS = ("router", "lamp", "kettle", "bicycle", "printer", "door", "phone", "oven")
STEPS = ("unplug it and wait", "check the cable", "look for a loose screw", "clean it with a dry cloth")


@dataclass
class MyConfig(moa.DataConfig):
    """Questions about broken things, with a thorough and a short answer."""

    labels: dict[str, str] = moa.option(
        {"helpful": "thorough", "concise": "shorter"}, "objective: label column"
    )
    questions: int = moa.option(160, "how many there are", at_least=1)


class MyData(moa.RowData):
    """Every tenth pair was not judged for helpfulness; 'shorter' is a rule that every data set has."""

    Config = MyConfig

    def rows(self) -> Iterator[tuple[str, str, str, dict[str, int | None]]]:
        for i in range(self.config.questions):
            thing, steps = THINGS[i % len(THINGS)], [STEPS[(i + j) % len(STEPS)] for j in range(1 + i % 3)]
            answers = [f"First {', then '.join(steps)}.", f"Try to {steps[0]}."]
            first = (i // 3) % 2
            yield (
                f"Case {i}: how do I repair my {thing}?",
                answers[first],
                answers[1 - first],
                {"thorough": None if i % 10 == 0 else first},
            )
