"""Where each objective's score comes from: what a study's `rewards` says, checked, and made into one `Rewards`.

Light: models and torch are loaded by `build_sources` alone. A function's module is imported when it is checked.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_moa.answers import is_foreign
from lightning_moa.digests import digest
from lightning_moa.errors import UserError
from lightning_moa.rewards.functions import check_function
from lightning_moa.rewards.inputs import PROMPT_RESPONSE, templated
from lightning_moa.rewards.table import MODELS, HubModel, hub_model

if TYPE_CHECKING:
    import torch

    from lightning_moa.data.tables import GoldReward
    from lightning_moa.rewards.base import Rewards

GOLD, TRAINED, FUNCTION, MODEL = "gold", "trained", "function", "model"
KINDS = (GOLD, TRAINED, FUNCTION, MODEL)

TABLE = tuple(entry.id for entry in MODELS)
FORM_KEYS = ("template", "pair", "index", "sign")
"""What the table says of its own models, and what has to be said of any other."""
KEYS = ("model", "path", "revision", "max_length", *FORM_KEYS)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_ALLOWED = f"trained, 'module:name', a model of the table, and a mapping with the keys {', '.join(KEYS)}"


@dataclass(frozen=True)
class Source:
    """What scores one objective. Equal sources give equal scores."""

    kind: str
    """One of `KINDS`."""
    name: str = ""
    """'module:name' of a function; a model's name in the table or on the hub, or its local folder."""
    path: str | None = None
    """Local folder with the model's files, instead of the hub."""
    revision: str | None = None
    """The hub commit (40 hex digits); None: the table's, else the newest."""
    max_length: int | None = None
    """Longest input of the model, in tokens; None: what it allows."""
    template: str | None = None
    """How prompt and response become the model's input; None: as the table says, or as a pair."""
    pair: bool = False
    """Whether prompt and response are the tokenizer's two segments."""
    index: int | None = None
    """Which output of the model is the score, from 0; None: as the table says."""
    sign: int | None = None
    """1, or -1 for a cost; None: as the table says."""

    def to_json(self) -> dict[str, Any]:
        """What differs from the defaults, in plain values; `from_json` makes an equal source of it."""
        return {
            item.name: value for item in fields(self) if (value := getattr(self, item.name)) != item.default
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Source:
        """The source that `to_json` wrote."""
        return cls(**saved)

    def describe(self, learnt: str = "pairs") -> str:
        """What a record of a run says of it. `learnt`: what a model that is trained here learns from."""
        words = {GOLD: "the world's own", TRAINED: f"a model trained on the {learnt}"}
        return words.get(self.kind, self.name)

    def entry(self, objective: str) -> HubModel:
        """How the model is fed and read: the table's entry, or what was said of it."""
        if self.name in TABLE:
            return replace(hub_model(self.name), max_length=self.max_length)
        return HubModel(
            id=self.name,
            objective=objective,
            form=PROMPT_RESPONSE if self.template is None else templated(self.template),
            licence="not known",
            sign=1 if self.sign is None else self.sign,
            index=self.index,
            max_length=self.max_length,
        )


def parse_sources(
    where: str, given: Mapping[str, Any], default: str, objectives: Sequence[str], has_gold: bool
) -> dict[str, Source]:
    """What scores each objective, in the objectives' order.

    A value may be: `gold`; `trained`; 'module:name', a function (prompts, responses) -> n numbers or a class with
    such a method `scores`; the name of a model of the table; or a mapping with `KEYS`. None leaves the default.

    Args:
        where: the key that gave it ("ppo.rewards"), for errors.
        given: objective to value.
        default: `gold` or `trained`, for objectives that have no value.
        objectives: the study's m.
        has_gold: whether the data has gold rewards.

    Raises:
        UserError: names the key, such as ppo.rewards.helpful, what was given, and what is allowed.
    """
    named = {name: value for name, value in given.items() if value is not None}
    for name in named:
        if name not in objectives:
            raise UserError(
                f"{where}.{name}={named[name]}: the study's objectives are {', '.join(objectives)}"
            )
    sources = {}
    for name in objectives:
        key = f"{where}.{name}"
        sources[name] = _parse(key, named.get(name, default))
        if sources[name].kind == GOLD and not has_gold:
            raise UserError(f"{key}=gold: the data has no gold rewards; allowed are {_ALLOWED}")
    return sources


def digest_of(sources: Mapping[str, Source], where: str = "rewards") -> dict[str, str]:
    """Hash of the files in each objective's local folder, where it has one.

    Raises:
        UserError: a file that cannot be read, under the key `<where>.<objective>.path`.
    """
    return {
        name: digest(source.path, f"{where}.{name}.path")
        for name, source in sources.items()
        if source.path is not None
    }


def build_sources(
    sources: Mapping[str, Source],
    objectives: Sequence[str],
    *,
    gold: Mapping[str, GoldReward] | None,
    trained_folder: Path | None,
    batch_size: int,
    device: torch.device | str = "cpu",
    dtype: str = "float32",
) -> Rewards:
    """All sources as one.

    Args:
        sources: of each objective.
        objectives: m names, in the order of the scores' columns.
        gold: the data's own rewards; None where it has none.
        trained_folder: the model that was trained on the pairs; None where nothing is scored by it.
        batch_size: texts that a model scores at a time.
        device: where models are put.
        dtype: of published models' weights: float32, bfloat16 or float16.

    Raises:
        UserError: an objective without a source, a source without what it needs, or a model that can't be loaded.
    """
    from lightning_moa.rewards.base import RuleRewards
    from lightning_moa.rewards.functions import FunctionRewards
    from lightning_moa.rewards.joined import RewardSet

    lacking = [name for name in objectives if name not in sources]
    if lacking:
        raise UserError(f"objective {lacking[0]!r}: there is no source of its rewards")
    by_kind = {kind: [name for name in objectives if sources[name].kind == kind] for kind in KINDS}
    parts: list[Rewards] = [FunctionRewards(sources[name].name, name) for name in by_kind[FUNCTION]]
    if by_kind[GOLD]:
        unknown = [name for name in by_kind[GOLD] if name not in (gold or {})]
        if gold is None or unknown:
            raise UserError(f"objective {unknown[0]!r}: the data has no gold reward of it")
        parts.append(RuleRewards({name: gold[name] for name in by_kind[GOLD]}))
    if by_kind[TRAINED]:
        from lightning_moa.rewards.trained import TrainedRewards

        if trained_folder is None:
            raise UserError(f"objective {by_kind[TRAINED][0]!r}: no reward model was trained for it")
        trained = TrainedRewards(trained_folder, batch_size, str(device))
        # Its other outputs must not meet the sources that score those objectives.
        parts.append(RewardSet([trained], by_kind[TRAINED]))
    for name in by_kind[MODEL]:
        from lightning_moa.rewards.hub import HubRewards

        source = sources[name]
        parts.append(
            HubRewards(
                source.entry(name),
                objective=name,
                path=source.path,
                revision=source.revision,
                batch_size=batch_size,
                device=str(device),
                dtype=dtype,
            )
        )
    return RewardSet(parts, objectives)


def _parse(key: str, value: Any) -> Source:
    if isinstance(value, Mapping):
        return _parse_model(key, dict(value))
    if value in (GOLD, TRAINED):
        return Source(value)
    if not isinstance(value, str):
        raise UserError(f"{key}={value!r}: allowed are gold, {_ALLOWED}")
    if value in TABLE:
        return Source(MODEL, value)
    if is_foreign(value):
        check_function(value, key)
        return Source(FUNCTION, value)
    raise UserError(
        f"{key}={value}: the table has no such model{_near(value)}; allowed are gold, trained, 'module:name', "
        f"{', '.join(TABLE)}; of any other model say {key}.model, .template, .index and .sign"
    )


def _parse_model(key: str, given: dict[str, Any]) -> Source:
    """A model by a mapping with `KEYS`; None counts as not given."""
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in KEYS:
            near = difflib.get_close_matches(str(name), KEYS, n=1)
            guess = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(f"{key}.{name}: there is no such key{guess}; allowed are {', '.join(KEYS)}")
    if "model" not in given:
        raise UserError(
            f"{key}.model: which model that is must be said: a name of the table or the hub, or a folder"
        )
    for name, check in _CHECKS.items():
        if name in given:
            check(f"{key}.{name}", given[name])
    model = given.pop("model")
    _check_form(key, model, given)
    if model not in TABLE and "path" not in given:
        if _looks_local(model):
            _check_folder(f"{key}.model", model)
            given["path"] = model
        elif not _HUB_ID.fullmatch(model):
            raise UserError(f"{key}.model={model}: neither a name on the hub nor a local folder")
    return Source(MODEL, model, **given)


def _check_form(key: str, model: str, given: Mapping[str, Any]) -> None:
    """A model's form is said by the table, or by the user, and only by one of them."""
    if model in TABLE:
        for name in FORM_KEYS:
            if name in given:
                raise UserError(f"{key}.{name}: the table knows how {model} is fed and read; leave it out")
        return
    absent = [name for name in ("template", "index", "sign") if name not in given]
    if given.get("pair"):
        if "template" in given:
            raise UserError(
                f"{key}.pair: with {key}.template there is one text, no pair; give one of the two"
            )
        absent.remove("template")
    if absent:
        raise UserError(
            f"{key}.{absent[0]}: needed, since the table has no {model}{_near(model)}: {_MEANING[absent[0]]}"
        )


_MEANING = {
    "template": "the input's text with {prompt} and {response} (or pair=true: the tokenizer's two segments)",
    "index": "which output is the score, from 0",
    "sign": "1, or -1 where a higher output is worse",
}


def _check_text(key: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise UserError(f"{key}={value!r}: must be a text (in a shell, one with braces or ': ' as '\"...\"')")


def _check_template(key: str, value: Any) -> None:
    _check_text(key, value)
    try:
        templated(value)
    except UserError as error:
        raise UserError(f"{key}={error}") from error


def _check_folder(key: str, value: Any) -> None:
    _check_text(key, value)
    if not Path(value).expanduser().is_dir():
        raise UserError(f"{key}={value}: there is no such folder")


def _check_revision(key: str, value: Any) -> None:
    if not isinstance(value, str) or not _COMMIT.fullmatch(value):
        raise UserError(f"{key}={value}: must be a hub commit, 40 hex digits")


def _one_of(*allowed: Any) -> Callable[[str, Any], None]:
    def check(key: str, value: Any) -> None:
        if not any(value is each or (type(value) is type(each) and value == each) for each in allowed):
            raise UserError(f"{key}={value}: allowed are {', '.join(map(str, allowed))}")

    return check


def _at_least(least: int) -> Callable[[str, Any], None]:
    def check(key: str, value: Any) -> None:
        if type(value) is not int or value < least:
            raise UserError(f"{key}={value}: must be a whole number of at least {least}")

    return check


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "model": _check_text,
    "path": _check_folder,
    "revision": _check_revision,
    "max_length": _at_least(1),
    "template": _check_template,
    "pair": _one_of(True, False),
    "index": _at_least(0),
    "sign": _one_of(1, -1),
}


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, TABLE, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _looks_local(model: str) -> bool:
    """Whether a model's name is a folder's rather than the hub's."""
    return model.startswith(("/", "~", ".")) or model.count("/") > 1 or Path(model).is_dir()
