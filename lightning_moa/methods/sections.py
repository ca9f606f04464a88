"""Where a method's answers are, and the sections of a configuration that they bring. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping

from lightning_moa.aggregation.names import AGGREGATIONS
from lightning_moa.answers import Known, known
from lightning_moa.errors import UserError
from lightning_moa.methods.names import METHODS
from lightning_moa.methods.products import Product
from lightning_moa.objectives.names import OBJECTIVES
from lightning_moa.policies.names import POLICIES

TABLES = {"method": METHODS, "policy": POLICIES, "objective": OBJECTIVES, "aggregation": AGGREGATIONS}


def answers_of(product: Product) -> dict[str, Known]:
    """Where its answers are: method, policy, objective, aggregation."""
    return {kind: known(table, getattr(product, kind).name, kind) for kind, table in TABLES.items()}


def brought_by(methods: Mapping[str, Product]) -> dict[str, type]:
    """Name of each section that the methods' answers bring to its dataclass.

    Raises:
        UserError: an answer that there is not, or two that mean different things by one section.
    """
    found: dict[str, type] = {}
    for name, product in methods.items():
        own = [one.sections for one in answers_of(product).values()]
        for sections in (*own, product.deployment.sections):
            for section, settings in sections.items():
                if found.setdefault(section, settings) is not settings:
                    raise UserError(
                        f"{name}: section {section} is {settings.__name__} here and {found[section].__name__} in "
                        "another of the study's answers; one of them needs another name"
                    )
    return found


def all_sections() -> set[str]:
    """The sections of all answers of ours: files of settings may speak of them for other studies."""
    return {name for table in TABLES.values() for one in table.values() for name in one.sections}
