"""A study's methods, resolved: the classes of their answers, and the settings that each works with. Light until the
classes are asked for."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, make_dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, TypeVar, cast, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_moa.answers import Known, Sections, is_foreign, load
from lightning_moa.config import MethodConfig, StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import check, option
from lightning_moa.methods.products import Product
from lightning_moa.methods.sections import answers_of, brought_by
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.study.constructors import check_constructor

S = TypeVar("S", bound=StudyConfig)
TOLD_APART = ("steps", "lr")
"""What a method says of its objective's first section by keys of its own, which scripts set for totals, budgets and
tuned rates: `settings` would go before those without a word."""


def sections_of(methods: Mapping[str, Product]) -> dict[str, type]:
    """The sections of the configuration that the methods' answers bring.

    Raises:
        UserError: as for `brought_by`, or one that is called as a study's own.
    """
    found = brought_by(methods)
    for section in {item.name for item in fields(StudyConfig)} & set(found):
        raise UserError(f"section {section}: a study has one of that name; an answer's needs another")
    return found


def schema_of(methods: Mapping[str, Product], base: type[S] = StudyConfig) -> type[S]:  # type: ignore[assignment]
    """The configuration of a study with these methods: `base` and the sections that their answers bring."""
    return _schema(cast(Any, base), tuple(sections_of(methods).items()))


@lru_cache(maxsize=64)
def _schema(base: Any, sections: tuple[tuple[str, type], ...]) -> Any:
    given: Any = [(name, kind, option(kind, _first_line(kind))) for name, kind in sections]
    return make_dataclass(base.__name__, given, bases=(base,), namespace={"__doc__": base.__doc__})


def _first_line(kind: type) -> str:
    return (kind.__doc__ or kind.__name__).strip().splitlines()[0]


@dataclass(frozen=True)
class Chosen:
    """One method of a study: its classes and settings."""

    name: str
    product: Product
    answers: Mapping[str, Known]
    values: Mapping[str, Any]
    """Section -> its settings, an instance of its dataclass, with what the method says of them."""
    options: Mapping[str, Mapping[str, Any]]
    """Answer -> arguments of its constructor besides settings."""

    @staticmethod
    def of(config: StudyConfig, name: str, product: Product) -> Chosen:
        """The method with a study's settings.

        Raises:
            UserError: a setting that the method's answers don't have or that has a place of its own, or an objective
                without an optimiser's settings.
        """
        answers = answers_of(product)
        brought = {**sections_of({name: product})}
        values = {
            section: asdict(getattr(config, section, None) or kind()) for section, kind in brought.items()
        }
        options: dict[str, dict[str, Any]] = {}
        for kind, answer in answers.items():
            options[kind] = {}
            for key, value in getattr(product, kind).options.items():
                section = _section_with(key, answer.sections)
                if section is None:
                    options[kind][key] = _as_json(value, f"{name}: use({answer.path}, {key}=...)")
                else:
                    # From its default on, so that a mapping is replaced and not added to.
                    former = {**values[section], key: getattr(brought[section](), key)}
                    changed = _changed(brought[section](**former), {key: value}, f"{name}: {section}")
                    values[section] = asdict(changed)
        own = config.methods.get(name, MethodConfig())
        main = _main_section(name, product, answers["objective"].sections)
        for key in TOLD_APART:
            if getattr(own, key) is not None:
                values[main][key] = getattr(own, key)
        typed = {section: kind(**values[section]) for section, kind in brought.items()}
        for section, changes in own.settings.items():
            where = f"methods.{name}.settings.{section}"
            if section not in typed or not isinstance(changes, Mapping):
                raise UserError(
                    f"{where}: allowed are keys of {', '.join(typed)}, such as settings.{main}.batch_size=8"
                )
            for key in TOLD_APART if section == main else ():
                if key in changes:
                    raise UserError(f"{where}.{key}: allowed is methods.{name}.{key}={changes[key]}")
            typed[section] = _changed(typed[section], changes, where)
        for section, value in typed.items():
            if isinstance(value, OptimiserConfig):
                value.check_shares(f"{name}: {section}")
        return Chosen(name, product, answers, typed, options)

    @property
    def settings(self) -> Any:
        """Those of the objective's first section."""
        return self.values[next(iter(self.answers["objective"].sections))]

    @cached_property
    def policy(self) -> Any:
        """Its class, as the others are."""
        return _class(self.answers["policy"], "policy", ("forward", "build", "rebuild"))

    @cached_property
    def objective(self) -> Any:
        return _class(self.answers["objective"], "objective", ("losses", "policies", "rows"))

    @cached_property
    def aggregation(self) -> Any:
        return _class(self.answers["aggregation"], "aggregation", ("__call__",))

    def check(self) -> None:
        """Load what comes from outside, so that what isn't there is known before anything is trained."""
        needs = self.objective.needs
        if not isinstance(needs, tuple | list) or not all(isinstance(each, str) for each in needs):
            raise UserError(
                f"{self.name}: objective={self.answers['objective'].path}: `needs` is a tuple of names, such as "
                f"('reference',); it is {needs!r}"
            )
        for kind in ("policy", "objective", "aggregation"):
            self._check_options(kind, getattr(self, kind))
        if is_foreign(self.product.method.name) or self.options["method"]:
            has = ("training_step", "preference", "arguments")
            self._check_options("method", _class(self.answers["method"], "method", has))

    def _check_options(self, kind: str, found: type) -> None:
        """Refuse what a method says of an answer that neither its sections nor its constructor know."""
        if is_foreign(getattr(self.product, kind).name) and "build" in vars(found):
            # Its own `build` may take what it likes.
            return
        known = {*arguments_of(found), *getattr(found, "build_options", ())} - _given(kind)
        for key in self.options[kind]:
            if key not in known:
                settings = {
                    item.name for each in self.answers[kind].sections.values() for item in fields(each)
                }
                near = difflib.get_close_matches(key, {*known, *settings}, n=1)
                guess = f" (did you mean {near[0]}?)" if near else ""
                raise UserError(
                    f"{self.name}: use({getattr(self.product, kind).name}, {key}=...): neither a setting of that "
                    f"{kind} nor an argument of {found.__name__}{guess}"
                )
        if is_foreign(getattr(self.product, kind).name):
            path = self.answers[kind].path
            check_constructor(kind, found, self.options[kind], f"{self.name}: {kind}={path}")

    def sections(self, *kinds: str) -> dict[str, dict[str, Any]]:
        """Section -> settings as JSON can hold them, of these answers."""
        names = {name for kind in kinds for name in self.answers[kind].sections}
        return {name: asdict(value) for name, value in self.values.items() if name in names}


def chosen_methods(config: StudyConfig, methods: Mapping[str, Product]) -> dict[str, Chosen]:
    """All methods of a study, checked.

    Raises:
        UserError: see `Chosen.of`; or settings of a method that the study does not have.
    """
    unknown = set(config.methods) - set(methods)
    if unknown:
        raise UserError(f"methods.{sorted(unknown)[0]}: this figure's methods are {', '.join(methods)}")
    sections_of(methods)
    found = {name: Chosen.of(config, name, product) for name, product in methods.items()}
    for one in found.values():
        one.check()
    return found


def _given(kind: str) -> set[str]:
    """Arguments that a training itself gives."""
    if kind != "method":
        return {"model"}
    from lightning_moa.methods.base import Alignment

    return arguments_of(Alignment)


def arguments_of(kind: type) -> set[str]:
    """Names of a constructor's arguments, and of its parents' where it hands them on."""
    found: set[str] = set()
    for each in kind.__mro__:
        if "__init__" not in vars(each):
            continue
        own = list(inspect.signature(vars(each)["__init__"]).parameters.values())[1:]
        found |= {one.name for one in own if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
        if not any(one.kind is one.VAR_KEYWORD for one in own):
            break
    return found


def _as_json(value: Any, where: str) -> Any:
    """The value, or a number of NumPy's as Python's own.

    Raises:
        UserError: one that a run's record can't hold.
    """
    plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
    try:
        json.dumps(plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{where}: {value!r} can't be written as JSON, as a run's record needs ({error})"
        ) from error
    return plain


def _section_with(key: str, sections: Sections) -> str | None:
    """The first section that has such a key."""
    for name, kind in sections.items():
        if key in {item.name for item in fields(kind)}:
            return name
    return None


def _main_section(name: str, product: Product, sections: Sections) -> str:
    """The objective's first section."""
    for section, kind in sections.items():
        if issubclass(kind, OptimiserConfig):
            return section
        break
    raise UserError(
        f"{name}: objective {product.objective.name} needs `sections`, the first of them an OptimiserConfig "
        "(learning rate, batch size, updates)"
    )


def _changed(settings: Any, changes: Mapping[str, Any], where: str) -> Any:
    """The settings with these changes, each of the type that its field declares."""
    declared = {item.name for item in fields(settings)}
    known = [name for name in changes if name in declared]
    part, kind = settings, cast(Any, type(settings))
    if len(known) == len(changes):
        # OmegaConf takes as long as there are fields.
        part = _only(kind, tuple(known))(*(getattr(settings, name) for name in known))
    try:
        changed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(part), dict(changes)))
    except OmegaConfBaseException as error:
        raise UserError(f"{where}: {str(error).splitlines()[0]}") from error
    changed = replace(settings, **{name: getattr(changed, name) for name in known})
    check(changed, f"{where}.")
    return changed


@lru_cache(maxsize=256)
def _only(kind: Any, names: tuple[str, ...]) -> type:
    """A dataclass of these fields alone."""
    hints = get_type_hints(kind)
    return make_dataclass(kind.__name__, [(name, hints[name]) for name in names])


def _class(answer: Known, what: str, has: tuple[str, ...]) -> Any:
    found = load(answer.path, what)
    # Asked of the class's own: `hasattr` would find its metaclass's `__call__` in any.
    known = {name for base in getattr(found, "__mro__", ()) for name in vars(base)}
    missing = [name for name in has if name not in known]
    if not isinstance(found, type) or missing:
        lack = f"it has no {missing[0]}" if isinstance(found, type) else "it is no class"
        raise UserError(f"{what}={answer.path}: not an answer to that question ({lack})")
    return found
