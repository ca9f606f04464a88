"""The tasks of one seed where policies learn from scored responses, offline and then online. Light: no torch.

offline rows -> policies -> online rows -> policies -> ... : a round samples from a method's policies, scores, filters,
and its policies go on training on all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lightning_moa.config import LikelihoodStudyConfig
from lightning_moa.errors import UserError
from lightning_moa.methods.products import Product
from lightning_moa.study.seeds import REFERENCE, SeedPlan, SeedPlanner, own_code
from lightning_moa.study.tasks import Task


class ScoredSeedPlanner(SeedPlanner):
    """Of a study whose configuration has a section `likelihood`."""

    config: LikelihoodStudyConfig

    def plan(self, methods: Mapping[str, Product]) -> SeedPlan:
        plan = SeedPlan()
        offline = self._offline_rows()
        for name, product in methods.items():
            self._check(name, product)
            plan.policies[name] = self._trained(name, product, offline)
            needs = self.measures({"base": self.base(), "rows": offline}, self.rewards())
            plan.evaluations[name] = self.evaluation(
                name, product, plan.policies[name], needs, ric=asdict(self.config.ric)
            )
        needs = self.measures({"base": self.base()}, self.rewards())
        plan.evaluations[REFERENCE] = self.evaluation(REFERENCE, None, [], needs)
        return plan

    def _check(self, name: str, product: Product) -> None:
        if product.objective not in ("likelihood", "in_context"):
            raise UserError(f"{name}: its objective, {product.objective}, is not this study's")
        if self.config.likelihood.weigh == "scalarise_first" and "head_preferences" in product.method:
            raise UserError(
                f"likelihood.weigh=scalarise_first: {name}, whose heads each have a preference, needs per_objective; "
                f"allowed are SCA's models, and HaM"
            )

    def base(self) -> Task:
        spec = {"sft": asdict(self.config.sft), "ric": asdict(self.config.ric)}
        return self.task("reference policy", "base", spec, {}, cost=20)

    def _offline_rows(self) -> Task:
        settings = asdict(self.config.likelihood)
        kept = ("rows", "reward", "hub_rewards", "hub_paths", "unit_map", "power", "z", "z_factor")
        spec = {
            "settings": {key: settings[key] for key in kept},
            "batch_size": self.config.evaluation.batch_size,
            "hub_files": self.hub_files,
        }
        return self.task("offline rows", "offline_rows", spec, self.scoring(), cost=8)

    def _trained(self, name: str, product: Product, rows: Task) -> list[Task]:
        """The policies after the last round."""
        settings = self.with_own(name, asdict(self.config.likelihood))
        policies = self._stage(name, product, settings, rows, [], 0)
        online = asdict(self.config.online)
        for number in range(1, online["rounds"] + 1):
            rows = self._online_rows(name, product, rows, policies, number)
            round_settings = settings | {key: online[key] for key in ("steps", "lr", "schedule")}
            policies = self._stage(name, product, round_settings, rows, policies, number)
        return policies

    def _stage(
        self,
        name: str,
        product: Product,
        settings: dict[str, Any],
        rows: Task,
        start: list[Task],
        stage: int,
    ) -> list[Task]:
        """The policies of the offline phase, 0, or of a round, which take up those of `start`."""
        preferences = self.trained_at(product)
        tasks = []
        for i, at in enumerate(preferences):
            needs = {"base": self.base(), "rows": rows} | ({"start": start[i]} if start else {})
            options = {
                argument: getattr(getattr(self.config, place.partition(".")[0]), place.partition(".")[2])
                for argument, place in product.settings.items()
            }
            if "warm_up" in options:
                # Its aggregator counts batches. What is taken up has drawn apart already.
                options["warm_up"] = 0 if start else options["warm_up"] * settings["accumulate"]
            if options.get("method") == "random":
                # Directions of its own for every seed and every round.
                options["seed"] = 1000 * self.seed + stage
            number = self.config.heads.number if product.heads is None else product.heads
            more = {
                "aggregation_options": {**product.options, **options},
                "heads": asdict(self.config.heads) | {"number": number},
                "ric": asdict(self.config.ric),
            }
            tasks.append(self.align(name, product, at, settings, needs, **more))
        return tasks

    def _online_rows(
        self, name: str, product: Product, rows: Task, policies: list[Task], number: int
    ) -> Task:
        spec = {
            "online": asdict(self.config.online),
            "round": number,
            "settings": {
                key: getattr(self.config.likelihood, key) for key in ("reward", "hub_rewards", "hub_paths")
            },
            "max_new_tokens": self.config.evaluation.max_new_tokens,
            "batch_size": self.config.evaluation.batch_size,
            "ric": asdict(self.config.ric),
            "in_prompt": product.deployed_as == "in_prompt",
            "hub_files": self.hub_files,
            "own_code": own_code(product.module),
        }
        inputs = {f"policy{i:05d}": task for i, task in enumerate(policies)}
        needs = {**self.scoring(), "rows": rows, **inputs}
        return self.task(f"{name}, online rows {number}", "online_rows", spec, needs, cost=8)
