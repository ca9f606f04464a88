"""The form that every objective has, and the mean that all of them take."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_moa.batches import PairBatch
from lightning_moa.errors import UserError
from lightning_moa.objectives.costs import Memory, Operations, full_batch, longest, weightless
from lightning_moa.objectives.held_out import kept_reference, ranked_right, reference_logps
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.policies import Policy
from lightning_moa.policies.generation import evaluating
from lightning_moa.processes import joint_mean, rows_of_joint_batch, together, world_size

if TYPE_CHECKING:
    from lightning_moa.data.base import PreferenceData
    from lightning_moa.data.stepping import StepData
    from lightning_moa.data.training import TrainingData
    from lightning_moa.rewards import Rewards

OptimiserFactory = Callable[[Iterable[nn.Parameter]], Optimizer | tuple[Optimizer, LRScheduler]]
"""The trained parameters to their optimiser, or to it and a schedule, which is stepped once an update."""


class Plan(Protocol):
    """What an objective may plan its method's trainings with. A task is opaque; roles name what a training needs."""

    @property
    def name(self) -> str:
        """The method's."""

    @property
    def objectives(self) -> tuple[str, ...]: ...

    @property
    def options(self) -> Mapping[str, Mapping[str, Any]]:
        """'method', 'policy', 'objective', 'aggregation' -> what the method says besides settings."""

    @property
    def is_world(self) -> bool:
        """Whether the data are a synthetic world's, whose rewards are known."""

    @property
    def settings(self) -> Any:
        """The objective's first section, with what the method says of it."""

    def section(self, name: str) -> Any:
        """Another section of the configuration."""

    def need(self, name: str) -> Any:
        """A task that the study offers: reference (log-probs of all pairs), rewards (the trained reward model)."""

    def scoring(self) -> dict[str, Any]:
        """The tasks that must be there before responses can be scored, and none where they need none."""

    def task(
        self, name: str, function: str, spec: Mapping[str, Any], needs: Mapping[str, Any], cost: float
    ) -> Any:
        """A task of the objective's own: 'module:function', called as function(spec, inputs, out, progress)."""

    def train(
        self, needs: Mapping[str, Any], start: Sequence[Any] = (), stage: int = 0, **changes: Any
    ) -> list[Any]:
        """The trainings of the method's policies, one for each preference; `start`: earlier ones that they go on from,
        in stage 1, 2, ...; `changes`: of the settings."""
        ...


class Run(Protocol):
    """What the answers of a training are built from."""

    @property
    def objectives(self) -> tuple[str, ...]: ...

    @property
    def m(self) -> int: ...

    @property
    def seed(self) -> int: ...

    @property
    def stage(self) -> int:
        """0; from 1 on where an earlier training is gone on with."""
        ...

    @property
    def at(self) -> Sequence[float] | None:
        """The preference that the policy is trained for; None: all."""
        ...

    @property
    def data(self) -> PreferenceData: ...

    @property
    def tokenizer(self) -> Any: ...

    @property
    def policy(self) -> Policy: ...

    @property
    def steps(self) -> int:
        """Updates."""
        ...

    @property
    def processes(self) -> int:
        """That train the policy together."""
        ...

    @property
    def zeros(self) -> Sequence[bool]:
        """Of each objective, whether its scores have a zero of their own; those of a model that is trained on pairs
        have none: a constant more changes no loss."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """What the method says of this answer besides its settings."""
        ...

    @property
    def settings(self) -> Any:
        """The objective's first section, as its dataclass."""
        ...

    def section(self, name: str) -> Any:
        """Another section, as its dataclass."""
        ...

    def folder(self, role: str) -> Path:
        """What a task that the training needs has left."""
        ...

    def rewards(self, batch_size: int) -> Rewards:
        """What scores responses, so many at a time."""
        ...

    def optimiser(self, settings: OptimiserConfig, updates: int) -> OptimiserFactory:
        """AdamW and its schedule over so many updates."""
        ...


class Objective(nn.Module, ABC):
    """Per-objective losses of a batch. What a method optimises, whatever its policy and its aggregation.

    Besides `losses` a child says, as far as the defaults don't fit, what settings it has (`sections`), what it is
    trained on (`view`), what must be there first (`needs`), and how it is built of them.
    """

    sections: ClassVar[Mapping[str, type]] = {}
    """Sections of a study's configuration, by name; the first one's dataclass is an `OptimiserConfig`."""
    planning: ClassVar[tuple[str, ...]] = ()
    """Those of them that say what is planned and change no training."""
    view: ClassVar[str] = "pairs"
    """What a batch is: pairs (`PairBatch`), sequences (`SequenceBatch`) or prompts (`PromptBatch`)."""
    needs: ClassVar[tuple[str, ...]] = ()
    """What a study must have ready: reference (log-probs of all pairs, then `batch.ref_logps` are there)."""
    step_seconds: ClassVar[float] = 0.05
    """Of an update of the small world's model, for the progress display; what runs measure corrects it."""
    scores: ClassVar[bool] = False
    """Whether what scores responses is in memory while it trains."""
    in_prompt: ClassVar[bool] = False
    """Whether a preference is heard by what stands in the prompts, and by nothing else."""
    of_several: ClassVar[bool | None] = None
    """Whether it gives policies of several heads a row of losses each; None: not said."""
    keeps_apart: ClassVar[Mapping[str, Any]] = {}
    """Settings of the first section with which each objective has a loss of its own; empty: it always has, or never."""
    loss_range: ClassVar[tuple[float, float] | None] = None
    """The least and the largest that a loss can be by its form; None: not said."""

    own_optimiser: OptimiserFactory | None = None
    """Builds the optimiser of the objective's own parameters (PPO's critic)."""

    @classmethod
    def build(cls, run: Run) -> Self:
        """The objective of a run. By default the constructor gets those fields of its sections that it has arguments
        for, and what the method says besides."""
        known = inspect.signature(cls.__init__).parameters
        given: dict[str, Any] = {}
        for name in cls.sections:
            given |= {key: value for key, value in vars(run.section(name)).items() if key in known}
        return cls(**{**given, **run.options})

    @classmethod
    def check(cls, plan: Plan) -> None:
        """Refuse, while a study is planned, settings that no run can be made of."""

    @classmethod
    def apart(cls, settings: Any) -> bool:
        """Whether each objective has a loss of its own, or the preference has acted before the losses."""
        return all(getattr(settings, key) == value for key, value in cls.keeps_apart.items())

    @classmethod
    def files(cls, settings: Any) -> Mapping[str, str | None]:
        """Keys of the first section that name local files which are trained on, and their paths."""
        return {}

    @classmethod
    def kl_weight(cls, settings: Any) -> float | None:
        """Weight of the KL from the reference that policies are trained under; None: under none."""
        return None

    @classmethod
    def vocabulary(cls, section: Callable[[str], Any], objectives: Sequence[str]) -> list[str]:
        """Words that a tokenizer which is made for the study must have besides the data's."""
        return []

    @classmethod
    def tasks(cls, plan: Plan) -> dict[str, Any]:
        """What must be done before a policy is trained, besides the reference policy: role -> task."""
        return {name: plan.need(name) for name in cls.needs}

    @classmethod
    def policies(cls, plan: Plan) -> list[Any]:
        """The tasks whose results are the method's policies, one for each training preference."""
        return plan.train(cls.tasks(plan))

    @classmethod
    def rows(cls, run: Run) -> StepData:
        """What is trained on: the study's data, or rows of the objective's own."""
        return run.data

    @classmethod
    def batch_inputs(cls, run: Run) -> dict[str, Any]:
        """What the loader must know besides the rows."""
        if "reference" not in cls.needs:
            return {}
        return {"ref_logps": kept_reference(run.folder("reference"), "train", run.data)}

    @classmethod
    def stand_in(cls, settings: Any, path: str) -> str | None:
        """Let what isn't there yet count as there, for a forecast: a key of the first section that lacks a file gets
        `path`, which is never read. Returns a line that says so; None: nothing is lacking."""
        return None

    @classmethod
    def example(cls, run: Run, rows: int) -> tuple[Self, Any]:
        """The objective and one of its `parts`, of so many rows, for a forecast: on the meta device, of a run that has
        neither files nor a tokenizer. By default as in training, and a full batch of its view."""
        return weightless(cls.build(run)), full_batch(cls.view, run, rows)

    @classmethod
    def phases(cls, run: Run, memory: Memory) -> dict[str, dict[str, float]]:
        """Phases of an update besides its passes and its step: phase -> kind (activations, kv_cache, rollout) -> bytes
        on a device, beside weights and reward models."""
        return {}

    @classmethod
    def work(cls, run: Run, operations: Operations) -> tuple[Any, float]:
        """Of one update: operations (`Work`), and tokens trained on. By default those of its batch's texts."""
        rows, time = operations.rows * (2 if cls.view == "pairs" else 1), longest(run)[0]
        response = run.data.config.max_response_length if run.policy.logits_of_responses else None
        return operations.update(rows, time, response), float(rows * time)

    def prepare(self, policy: Policy, data: TrainingData, splits: Sequence[str]) -> None:
        """What a `Trainer` of one's own needs worked out before its first batch; in a study, tasks do that. By default
        the reference log-probs of pairs, where the objective needs them.

        Args:
            policy: at its start, on the device that it is trained on.
            data, splits: what it is trained and validated on, and what of it, train or eval.
        """
        if "reference" not in self.needs:
            return
        device = next(policy.parameters()).device
        for split in splits:
            with evaluating(policy), policy.reference():
                logps = reference_logps(policy, data.source, data.tokenizer, split, data.batch_size, device)
            data.take_reference(split, logps)

    def measures(
        self, policy: Policy, batch: Any, preference: Tensor, step: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """What is told of a batch that isn't trained on: name -> values (m,), (K, m) of heads, or (1,), and of how many
        entries each is the mean, (m,) or (1,). By default the losses, and of pairs with reference log-probs the share
        that the policy ranks as they are labelled (`accuracy`).

        Args:
            preference: (m,), that the policy is asked for.
            step: which batch, from 0; what is sampled for it depends on it alone.
        """
        counts = self.counts(batch)
        rows = torch.tensor([len(batch.input_ids)]) if counts is None else counts
        found = {"loss": (self.losses(policy, batch, preference), rows)}
        if isinstance(batch, PairBatch) and batch.ref_logps is not None and policy.several is None:
            found["accuracy"] = ranked_right(policy, batch, preference)
        return found

    def count(self, m: int) -> int:
        """How many losses it gives: m, unless the preference has acted before them."""
        return m

    @abstractmethod
    def losses(self, policy: Policy, batch: Any, preference: Tensor | None) -> Tensor:
        """Losses to minimise.

        Args:
            policy: the policy that is trained.
            batch: the typed batch that this objective takes, one of `parts`.
            preference: (m,) for the whole batch; (g, m) for g equal, contiguous shares of it; None where the
                policy knows no preference.

        Returns:
            (m,), or (g, m) for g preferences.
        """

    def parts(self, policy: Policy, batch: Any, preference: Tensor | None, step: int) -> Iterable[Any]:
        """What the updates of one loaded batch are made on: the batch itself, or rollouts sampled for it."""
        return (batch,)

    def shared_loss(self, policy: Policy, part: Any, preference: Tensor | None) -> Tensor | None:
        """A scalar that trains the policy beside the m losses and goes past their aggregation, where there is one."""
        return None

    def counts(self, part: Any) -> Tensor | None:
        """Of how many entries of a part's own rows each of its losses is the mean, (count,) or (1,), by which the
        batches of an update are weighed; None: of as many in each. Of pairs, their labels."""
        labels = getattr(part, "labels", None)
        return None if labels is None else (~labels.isnan()).sum(0)

    def shared_counts(self, part: Any) -> Tensor | None:
        """The same of `shared_loss`, (1,)."""
        return None

    def own_loss(self, part: Any) -> Tensor | None:
        """A scalar that trains the objective's own parameters, where it has some."""
        return None

    def logs(self) -> Mapping[str, float | Tensor]:
        """Numbers about the last batch, worth a column in the log."""
        return {}


def per_example(preference: Tensor | None, batch_size: int) -> Tensor | None:
    """The preference of each row of a batch, (m,) or (batch, m).

    Args:
        preference: (m,), which is returned as it is; or (g, m), one for each of g equal, contiguous shares of the
            batch, which is all processes' rows.
        batch_size: number of rows of this process; with those of the others a multiple of g.
    """
    if preference is None or preference.ndim == 1:
        return preference
    return preference[share_of_row(preference, batch_size)]


def share_of_row(preference: Tensor, batch_size: int) -> Tensor:
    """(batch,) index of the share of the joint batch that each of this process's rows belongs to.

    Args:
        preference: (g, m), one for each of g equal, contiguous shares of all processes' rows.
        batch_size: rows of this process.
    """
    groups, joint = len(preference), batch_size * world_size()
    if joint % groups:
        raise UserError(
            f"{groups} preferences for a batch of {joint} rows: the rows must divide evenly among them"
        )
    return rows_of_joint_batch(batch_size, preference.device) // (joint // groups)


def better_sign(labels: Tensor) -> Tensor:
    """+1 where response 1 is better, -1 where response 0 is, 0 where the label is NaN, which must not reach the loss
    even of a masked row: its gradient, 0 * NaN, would be NaN."""
    return (2 * labels - 1).nan_to_num(0.0)


def labelled_mean(values: Tensor, labelled: Tensor, preference: Tensor | None) -> Tensor:
    """Mean of the labelled rows of each objective, for each preference, over all processes' rows.

    Args:
        values, labelled: (batch, m); what is not labelled, by the bool, is ignored, whatever value it holds.
        preference: (m,) or None for one mean over the batch, (g, m) for one over each of g shares of the joint batch.

    Returns:
        (m,) or (g, m). An objective without a labelled row is 0 and passes no gradient.
    """
    kept = torch.where(labelled, values, torch.zeros_like(values))
    if preference is None or preference.ndim == 1:
        return joint_mean(kept.sum(0), labelled.sum(0))
    if not together():
        groups = (len(preference), -1, kept.shape[-1])
        return joint_mean(kept.reshape(groups).sum(1), labelled.reshape(groups).sum(1))
    share = share_of_row(preference, len(kept))
    empty = kept.new_zeros(len(preference), kept.shape[-1])
    return joint_mean(empty.index_add(0, share, kept), empty.index_add(0, share, labelled.to(kept)))
