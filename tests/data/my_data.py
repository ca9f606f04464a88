"""A data set of one's own as a user writes it: from public names only."""

from dataclasses import dataclass

from lightning_moa.data import DataConfig, RowData
from lightning_moa.fields import option


@dataclass
class MyConfig(DataConfig):
    """Made-up questions with a careful and a quick answer."""

    labels: dict[str, str] = option({"careful": "careful", "brief": "shorter"}, "objective: label")
    questions: int = option(40, "how many there are", at_least=1)


class MyData(RowData):
    """Every fifth pair has not been judged."""

    Config = MyConfig

    def rows(self):
        for i in range(self.config.questions):
            careful = None if i % 5 == 0 else i % 2
            answers = [f"quickly {i}", f"well, {i} is to be seen with care"]
            yield f"what of {i}?", answers[careful == 0], answers[careful != 0], {"careful": careful and 1}


class Split(RowData):
    """With rows of its own to evaluate on; rows are mappings, as those of a file of pairs."""

    def rows(self):
        return [{"prompt": f"q{i}", "response_0": "a", "response_1": "bb", "good": i % 2} for i in range(6)]

    def eval_rows(self):
        return [{"prompt": "e", "response_0": "aaa", "response_1": "b", "good": True}]
