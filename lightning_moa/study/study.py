"""What a script conducts: where its settings lie, its methods, and options of its own. Light: no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from yaml import YAMLError

from lightning_moa.answers import is_foreign, load
from lightning_moa.config import StudyConfig, parse
from lightning_moa.errors import UserError
from lightning_moa.methods.products import Product
from lightning_moa.methods.sections import all_sections
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.seeds import REFERENCE

ALL = "all"
"""Of `methods=[..]`: all of the script's."""
RESERVED = (ALL, REFERENCE)
"""Names that no method of one's own can have."""
DRAWS, PROMPT_SETS = "evaluation.draws", "evaluation.prompt_sets"
NOT_BY_ALL = (DRAWS, PROMPT_SETS)
"""Keys that are read by scripts alone, and not by all."""
Methods = Mapping[str, Product]
Part = tuple[str, Any, Methods]
"""Label, configuration and methods; the label is empty where a script conducts one study alone."""


@dataclass(frozen=True)
class Study:
    """A script's study, declared at its top as `STUDY`.

    Args:
        file: the script's `__file__`; `config/<family>/<scale>.yaml` lies beside it.
        family: which of the folder's configurations.
        methods: by their names in the study; the sections of its configuration are those that their answers bring.
        options: a `StudyConfig` with options of the script's own.
        scale: the one that is run where none is asked for.
        parts: what the script conducts, where that is several studies, or where methods hang on the configuration.
        any_methods: whether the script's own `main` is about whatever methods are asked for, and is given them.
        reads: which of `NOT_BY_ALL` it reads; a word for another is refused.
    """

    file: str
    family: str
    methods: Methods
    options: type[StudyConfig] = StudyConfig
    scale: str = "tiny"
    parts: Callable[[Any], Sequence[Part]] | None = None
    any_methods: bool = False
    reads: Sequence[str] = ()

    @property
    def folder(self) -> Path:
        """Of the configurations."""
        return Path(self.file).resolve().parent / "config" / self.family

    @property
    def schema(self) -> type[StudyConfig]:
        """The dataclass of its configuration."""
        return schema_of(self.methods, self.options)

    def read(self, words: Sequence[str]) -> tuple[Any, Methods]:
        """The configuration that `key=value` words ask for, and the methods: all, or those of `methods=[..]`, in which
        `all` stands for all of the script's.

        Raises:
            UserError: a wrong key, type, value or method.
        """
        self._check_reads(words)
        chosen = [word for word in words if word.startswith("methods=")]
        rest = [f"scale={self.scale}", *(word for word in words if not word.startswith("methods="))]
        methods = self.methods if not chosen else self._named(chosen[-1].partition("=")[2])
        schema = schema_of({**self.methods, **methods}, self.options)
        config = parse(schema, rest, self.folder, {*self.methods, *methods}, all_sections())
        self._check_said(words, config, methods)
        return config, methods

    def _check_reads(self, words: Sequence[str]) -> None:
        """Refuse a word that would change nothing."""
        for key in NOT_BY_ALL:
            said = [word for word in words if word.startswith((f"{key}=", f"{key}."))]
            if said and key not in self.reads:
                raise UserError(f"{said[0]}: this script does not read {key}; allowed is to leave it out")

    def _check_said(self, words: Sequence[str], config: Any, methods: Methods) -> None:
        """Refuse `methods.<name>.<key>=` of a method that none of the parts has: they take what they know by name."""
        said = [word.split(".")[1] for word in words if word.startswith("methods.")]
        if self.parts is None or not said:
            return
        known = dict.fromkeys(name for _, _, each in self.parts(deepcopy(config)) for name in each)
        known |= {name: None for name in methods if self.any_methods or name not in self.methods}
        lost = [name for name in said if name not in known]
        if lost:
            raise UserError(f"methods.{lost[0]}: this figure's methods are {', '.join(known)}")

    def parts_of(self, config: Any, methods: Methods) -> list[Part]:
        """The studies that it conducts, of these methods."""
        own = [("", config, self.methods)] if self.parts is None else list(self.parts(config))
        if methods is self.methods:
            return own
        added = {name: product for name, product in methods.items() if name not in self.methods}
        found: list[Part] = []
        for label, settings, all_methods in own:
            mine = {name: product for name, product in all_methods.items() if name in methods} | added
            if mine:
                settings.methods = {name: each for name, each in settings.methods.items() if name in mine}
                found.append((label, settings, mine))
        if not found:
            known = dict.fromkeys(name for _, _, each in own for name in each)
            raise UserError(
                f"methods=[{', '.join(methods)}]: no study of this script has them; they have {', '.join(known)}"
            )
        return found

    def _named(self, text: str) -> Methods:
        """The methods of a list of names; 'module:NAME' is a `Product` from outside, called name."""
        try:
            given = OmegaConf.to_container(OmegaConf.create(f"names: {text}"))["names"]  # type: ignore[call-overload,index]
        except YAMLError:
            given = None
        if not self.methods:
            raise UserError(
                f"methods={text}: this script trains nothing, so it has no methods to choose from"
            )
        if not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
            raise UserError(
                f"methods={text}: a list of names is expected, such as [{next(iter(self.methods))}]"
            )
        found: dict[str, Product] = {}
        for name in given:
            if name in self.methods:
                found[name] = self.methods[name]
            elif name == ALL:
                found |= self.methods
            elif is_foreign(name):
                product = load(name, "methods")
                if not isinstance(product, Product):
                    raise UserError(f"methods={name}: a Product is expected there")
                own = name.partition(":")[2].lower()
                if own in (*self.methods, *found, *RESERVED):
                    raise UserError(
                        f"methods={name}: there is a method {own} already, and its results bear that name; give the "
                        "Product another"
                    )
                found[own] = product
            else:
                raise UserError(
                    f"methods={name}: allowed are {', '.join(self.methods)}, {ALL} for all of them, and a Product of "
                    "one's own as module:NAME"
                )
        return found
