"""How a script's `key=value` arguments become a study's settings.

The layers, later ones winning: the dataclasses' defaults, the data set's own defaults, the scale's YAML file
(`config/<family>/<scale>.yaml`, then `<scale>.text.yaml` for any data but the synthetic world), the command line.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import asdict, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError, safe_load

from lightning_moa.config.options import SYNTHETIC, StudyConfig
from lightning_moa.data.config_checks import check_config
from lightning_moa.data.configs import DataConfig, WorldConfig
from lightning_moa.data.registry import data_entry
from lightning_moa.errors import UserError
from lightning_moa.fields import check
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.strategies.choices import check_hardware

SEEDS = 2**32
"""What numpy, torch and Lightning all take as a seed lies below."""
T = TypeVar("T", bound=StudyConfig)

YES_OR_NO = ("true", "false", "yes", "no", "on", "off", "1", "0")
"""What says so; the library below would take any other number for a yes."""
NOTHING = ("null", "none", "~", "")
OWN_SCALE = "own"
"""Of a study without files."""


def parse(
    schema: type[T],
    arguments: Sequence[str],
    folder: Path | None,
    methods: Collection[str] | None = None,
    others: Collection[str] = (),
) -> T:
    """The configuration that the command line asks for.

    Args:
        schema: the study's dataclass.
        arguments: `key=value` words; `scale=` and `data=` choose files and classes. The value of a key that takes a
            text is that text (or a quoted text in YAML), of any other key it is YAML.
        folder: holds `<scale>.yaml`; None: there is no file, and the scale is called `own`.
        methods: the study's methods; what the files say of others, for other studies, is left out. None keeps all.
        others: sections that the files may have for other studies; left out where the schema has none of that name.

    Raises:
        UserError: a wrong key, type or value; the line names the key, what was given and what is allowed.
    """
    given = dict(_split(word) for word in arguments)
    scale, layer = _layer(folder, given.pop("scale", None))
    data = given.pop("data", (layer.get("data") or {}).get("name", SYNTHETIC))
    options = data_entry(data).config
    config = _structured(schema)
    config.data = _structured_data(data, options)
    config.scale = scale
    if (layer.get("data") or {}).get("name") != data:
        # They speak of another data set.
        layer.pop("data", None)
        named = set(layer.pop("objectives", None) or ())
        for section in layer.values():
            if isinstance(section, dict) and isinstance(section.get("rewards"), dict):
                section["rewards"] = {k: v for k, v in section["rewards"].items() if k not in named}
        (layer.get("evaluation") or {}).pop("prompt_sets", None)
    passed_over = set(others) - {item.name for item in fields(schema)}
    config = _merge(config, _without(layer, passed_over), f"{scale}.yaml")
    text = None if folder is None else folder / f"{scale}.text.yaml"
    if text is not None and not issubclass(options, WorldConfig) and text.is_file():
        config = _merge(config, _without(_load_yaml(text), passed_over), text.name)
    if methods is not None:
        for name in set(config.methods) - set(methods):
            del config.methods[name]
    if "data.name" in given:
        raise UserError(
            f"data.name={given['data.name']}: a data set is chosen by data=NAME or data=module:Class"
        )
    for key, value in given.items():
        config = _merge_argument(config, key, value)
    config.data.name = data
    built: T = _build(config)
    check(built)
    check_config(built.data)
    _check_study(built)
    return built


def _layer(folder: Path | None, scale: str | None) -> tuple[str, dict[str, Any]]:
    """The scale's name, and what its file says."""
    if folder is None:
        return OWN_SCALE, {}
    scales = [
        name for name in ("smoke", "tiny", "laptop", "gpu", "paper") if (folder / f"{name}.yaml").is_file()
    ]
    scale = scale or "tiny"
    if scale not in scales:
        raise UserError(f"scale={scale}: allowed are {', '.join(scales)}")
    return scale, _load_yaml(folder / f"{scale}.yaml")


def _without(layer: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in layer.items() if name not in names}


def _split(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UserError(f"argument '{word}': arguments have the form key=value; --help lists the keys")
    return key, value


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        loaded = OmegaConf.load(path)
    except YAMLError as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text") from error
    if not isinstance(loaded, DictConfig):
        raise UserError(f"{path}: a mapping of keys to values is expected")
    return OmegaConf.to_container(loaded)  # type: ignore[return-value]


def _structured(schema: type) -> DictConfig:
    """A dataclass's defaults."""
    # Each time made anew it would be most of what reading a configuration takes.
    return deepcopy(_known_structured(schema))


@lru_cache(maxsize=64)
def _known_structured(schema: type) -> DictConfig:
    made: DictConfig = OmegaConf.structured(schema)
    return made


def _structured_data(name: str, options: type[DataConfig]) -> DictConfig:
    try:
        made = _structured(options)
    except (OmegaConfBaseException, ValueError) as error:
        told = str(error).splitlines()[0]
        raise UserError(
            f"data={name}: its {options.__name__} has a field that no key can be ({told})"
        ) from error
    return made


def _merge(config: DictConfig, layer: dict[str, Any], where: str) -> DictConfig:
    try:
        return OmegaConf.unsafe_merge(config, layer)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise UserError(f"{where}: {_explain(config, error, '')}") from error


def _merge_argument(config: DictConfig, key: str, value: str) -> DictConfig:
    parts = key.split(".")
    kinds = _kinds_along(config, parts)
    inside, names = len(kinds) <= len(parts), ".".join(parts[: len(kinds) - 2])
    if inside and kinds[-1] is str and get_origin(kinds[-2]) is dict:
        raise UserError(f"{key}={value}: '{names}' takes names without a dot: {names}.<name>=<value>")
    allowed = YES_OR_NO if kinds[-1] is bool else (*YES_OR_NO, *NOTHING)
    if not inside and bool in (kinds[-1], *get_args(kinds[-1])) and value.strip().lower() not in allowed:
        raise UserError(f"{key}={value}: '{key}' takes {_words(kinds[-1], key)}")
    try:
        text = None if inside else _text(kinds[-1], value, _declares("in_prompts", kinds[-2], parts[-1]))
        layer: Any = text
        for part in reversed(parts):
            layer = {part: layer}
        if text is None:
            layer = OmegaConf.from_dotlist([f"{key}={value}"])
        if not inside and _declares("whole", kinds[-2], parts[-1]):
            OmegaConf.update(config, key, None)
        return OmegaConf.unsafe_merge(config, layer)  # type: ignore[return-value]
    except (OmegaConfBaseException, TypeError, YAMLError) as error:
        raise UserError(f"{key}={value}: {_explain(config, error, key)}") from error


def _kinds_along(config: DictConfig, parts: Sequence[str]) -> list[Any]:
    """What the configuration and each part of a key below it take, as far as there are such keys."""
    kinds: list[Any] = [OmegaConf.get_type(config)]
    for part in parts:
        if is_dataclass(kinds[-1]):
            hints = get_type_hints(kinds[-1])
            if part not in hints:
                break
            # The data set's own class is known from the configuration alone.
            own = len(kinds) == 1 and part == "data"
            kinds.append(OmegaConf.get_type(config.data) if own else hints[part])
        elif get_origin(kinds[-1]) is dict:
            kinds.append(get_args(kinds[-1])[1])
        else:
            break
    return kinds


def _text(kind: Any, value: str, in_prompts: bool) -> str | None:
    """What a word gives to a key that takes a text; None for another key, or where the word says nothing."""
    if str not in (kind, *get_args(kind)) or get_origin(kind) in (list, dict):
        return None
    if value.lower() in ("null", "~") or (not value and kind is not str):
        return None
    if value[:1] in ("'", '"'):
        try:
            quoted = safe_load(value)
        except YAMLError:
            quoted = None
        if isinstance(quoted, str):
            return quoted
    return value.replace("\\n", "\n").replace("\\t", "\t") if in_prompts else value


def _declares(what: str, kind: Any, name: str) -> bool:
    """Whether a field's `option` says so; one's own data set may give it another default without saying it again."""
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return False
    declared = (vars(each).get("__dataclass_fields__", {}).get(name) for each in kind.__mro__)
    return any(item is not None and item.metadata.get(what) for item in declared)


def _build(config: DictConfig) -> Any:
    try:
        return OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UserError(f"{getattr(error, 'full_key', '')}: {str(error).splitlines()[0]}") from error


def _explain(config: DictConfig, error: Exception, key: str) -> str:
    """What was wrong at a key and what is allowed there, in one line."""
    full = str(getattr(error, "full_key", None) or key)
    kind: Any = OmegaConf.get_type(config)
    done = ""
    for part in full.split("[")[0].split("."):
        if is_dataclass(kind):
            hints = get_type_hints(kind)
            if part not in hints:
                near = difflib.get_close_matches(part, hints, n=1)
                guess = f" (did you mean {near[0]}?)" if near else ""
                return f"there is no key '{full}'{guess}; allowed are {', '.join(hints)}"
            # The data set's own class is known from the configuration alone.
            kind = OmegaConf.get_type(config.data) if done + part == "data" else hints[part]
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            break
        done = f"{done}.{part}".removeprefix(".")
    return f"'{done}' takes {_words(kind, done)}"


_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Any: "a value in YAML (a text with braces or ': ' in quotes of its own: '\"...\"')",
}


def _words(kind: Any, key: str) -> str:
    if is_dataclass(kind):
        return f"keys of its own: {key}.<key>=<value>"
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return f"names of its own: {key}.<name>=<value>"
    if get_origin(kind) is list:
        return f"a list, [...], of which each is {_WORDS[arguments[0]]}"
    return f"{_words(arguments[0], key)} or nothing" if arguments else _WORDS[kind]


def _check_study(config: StudyConfig) -> None:
    seeds = config.seeds
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0 or max(seeds) >= SEEDS:
        raise UserError(
            f"seeds={seeds}: one or more distinct whole numbers from 0, below {SEEDS}, are needed"
        )
    if config.objectives is not None and (
        len(config.objectives) < 2 or len(set(config.objectives)) != len(config.objectives)
    ):
        raise UserError(f"objectives={config.objectives}: two or more distinct names are needed")
    for name, method in config.methods.items():
        if not all(0 < share <= 1 for share in method.snapshots):
            raise UserError(
                f"methods.{name}.snapshots={method.snapshots}: shares of the training above 0 and up to 1 are allowed"
            )
    check_hardware(asdict(config.hardware))
    for item in fields(config):
        value = getattr(config, item.name)
        if isinstance(value, OptimiserConfig):
            value.check_shares(item.name)
