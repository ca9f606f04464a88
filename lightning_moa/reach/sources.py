"""What a Python file says: its syntax tree without what changes nothing, and what it imports. Nothing is run.

Left out are comments, docstrings, layout and what stands under `if TYPE_CHECKING:`, which never runs.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ATTACH = "lightning_moa.lazy.attach"
"""Called as `attach(__name__, {"Name": "submodule"})`, it makes a package import each name when it is asked for."""

_IMPORTERS = ("importlib.import_module", "importlib.__import__", "builtins.__import__", "runpy.run_module")
_EVALUATORS = ("builtins.exec", "builtins.eval")
# What they run cannot be told from a literal.
_LOADERS = (
    ATTACH,
    "importlib.machinery.SourceFileLoader",
    "importlib.util.spec_from_file_location",
    "pkgutil.resolve_name",
    "pydoc.locate",
    "runpy.run_path",
)
_DYNAMIC = {*_IMPORTERS, *_EVALUATORS, *_LOADERS}
_SAY_NOTHING = {"ctx", "kind", "type_comment", "type_ignores"}

Chain = tuple[str, ...]
"""A dotted name, `a.b.c`, by its parts."""


class Import(NamedTuple):
    """`import module`, or `from module import name`; level counts a relative import's dots."""

    level: int
    module: str
    name: str | None = None


@dataclass
class Source:
    """What one file says."""

    digest: str = ""
    imports: set[Import] = field(default_factory=set)
    stars: set[tuple[int, str]] = field(default_factory=set)
    """The level and name of each module that all is imported from."""
    bound: dict[str, set[Import]] = field(default_factory=dict)
    """What each imported name stands for."""
    uses: set[Chain] = field(default_factory=set)
    """Dotted names that begin with an imported one, as far as they go."""
    table: dict[str, str] = field(default_factory=dict)
    """A lazy package's names, and the submodules that they come from."""
    exports: set[str] = field(default_factory=set)
    """A literal `__all__`."""
    opaque: bool = False
    """Whether it imports or runs what only a run can tell."""


def read(path: Path) -> Source:
    """What a file says; one that has not changed is read once a process."""
    stat = os.stat(path)
    return _read(path, stat.st_mtime_ns, stat.st_size)


@cache
def _read(path: Path, mtime_ns: int, size: int) -> Source:
    content = path.read_bytes()
    reader = _Reader()
    try:
        reader.visit(ast.parse(content))
        return reader.finish()
    except (SyntaxError, ValueError, RecursionError):
        return Source(hashlib.sha256(content).hexdigest())


class _Reader:
    """Goes through a syntax tree once, writing it down and noting imports."""

    def __init__(self) -> None:
        self.source = Source()
        self.words: list[str] = []
        self.calls: list[tuple[Chain, ast.Call]] = []
        self.special: dict[type[ast.AST], Callable[[Any], bool]] = {
            ast.Name: self.dotted,
            ast.Attribute: self.dotted,
            ast.Expr: self.statement,
            ast.If: self.condition,
            ast.Import: self.imported,
            ast.ImportFrom: self.imported,
            ast.Assign: self.assigned,
            ast.Call: self.called,
        }

    def visit(self, node: ast.AST) -> None:
        special = self.special.get(type(node))
        if special is None or not special(node):
            self.write(node)

    def write(self, node: ast.AST) -> None:
        """As `ast.dump`, but alike in every version of Python: what is empty is left out."""
        words, kind = self.words, type(node)
        words.append(kind.__name__ + "(")
        for name in kind._fields:
            value = None if name in _SAY_NOTHING else getattr(node, name, None)
            if isinstance(value, ast.AST):
                words.append(name)
                self.visit(value)
            elif isinstance(value, list):
                if value:
                    words.append(name + "[")
                    for each in value:
                        if isinstance(each, ast.AST):
                            self.visit(each)
                        else:
                            words.append(ascii(each))
                    words.append("]")
            elif value is not None or name == "value":
                words.append(f"{name}={value!a}")
        words.append(")")

    # Each says whether the node is done with; else it is written down as any other.

    def dotted(self, node: Any) -> bool:
        chain = _chain(node)
        if chain is None:
            return False
        self.source.uses.add(chain)
        self.words.append(".".join(chain))
        return True

    def statement(self, node: Any) -> bool:
        """A lone string does nothing: a docstring."""
        return _text(node.value) is not None

    def condition(self, node: Any) -> bool:
        test = node.test
        negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        chain = _chain(test.operand if negated else test)
        if chain is None or chain[-1] != "TYPE_CHECKING":
            return False
        for each in node.body if negated else node.orelse:
            self.visit(each)
        return True

    def imported(self, node: Any) -> bool:
        for each in node.names:
            if isinstance(node, ast.ImportFrom):
                found = bound = Import(node.level, node.module or "", each.name)
                local = each.asname or each.name
            else:
                found = Import(0, each.name)
                local = each.asname or each.name.partition(".")[0]
                bound = found if each.asname else Import(0, local)
            self.source.imports.add(found)
            if found.name == "*":
                self.source.stars.add((found.level, found.module))
                continue
            self.source.bound.setdefault(local, set()).add(bound)
        return False

    def assigned(self, node: Any) -> bool:
        if isinstance(node.value, ast.List | ast.Tuple) and _chain(node.targets[0]) == ("__all__",):
            self.source.exports |= {text for each in node.value.elts if (text := _text(each)) is not None}
        table = self.table_of(node.value)
        if table is not None:
            self.source.table |= table
        return table is not None

    def table_of(self, value: ast.AST) -> dict[str, str] | None:
        """The table of a lazy package; None for all else."""
        if not isinstance(value, ast.Call) or len(value.args) != 2 or value.keywords:
            return None
        function, (name, table) = _chain(value.func), value.args
        if function is None or ATTACH not in self.full_names(function) or _chain(name) != ("__name__",):
            return None
        if not isinstance(table, ast.Dict):
            return None
        pairs = [(_text(key), _text(each)) for key, each in zip(table.keys, table.values, strict=True)]
        found = {key: each for key, each in pairs if key is not None and each is not None}
        return found if len(found) == len(pairs) else None

    def called(self, node: Any) -> bool:
        """Set aside a call on a literal, and read `getattr(a, "b")` as `a.b`."""
        chain, texts = _chain(node.func), [_text(each) for each in node.args]
        if chain is None or not node.args:
            return False
        whose = _chain(node.args[0])
        if chain == ("getattr",) and whose is not None and len(texts) > 1 and texts[1] is not None:
            self.source.uses.add((*whose, texts[1]))
            self.words.append(f"getattr {'.'.join(whose)}(")
            for each in node.args[1:]:
                self.visit(each)
            self.words.append(")")
            return True
        if texts[0] is None:
            return False
        self.calls.append((chain, node))
        self.words.append(f"call {'.'.join(chain)}(")
        for argument in (*node.args, *node.keywords):
            self.visit(argument)
        self.words.append(")")
        return True

    def full_names(self, chain: Chain) -> set[str]:
        """What a dotted name may stand for outside this file."""
        root, *rest = chain
        bound = self.source.bound.get(root)
        if bound is None:
            whole = ["builtins", *(module for _, module in self.source.stars)]
            return {".".join((module, *chain)) for module in whole}
        return {".".join(filter(None, (each.module, each.name, *rest))) for each in bound if not each.level}

    def finish(self) -> Source:
        """What was seen; a name may be imported below its first use, so that only now it is known what each is."""
        for chain, call in self.calls:
            names = self.full_names(chain) & _DYNAMIC
            if not names or not all(self.follow(name, call) for name in names):
                self.source.uses.add(chain)
        source = self.source
        source.opaque = any(self.full_names(chain) & _DYNAMIC for chain in source.uses)
        if not source.stars:
            source.uses = {chain for chain in source.uses if chain[0] in source.bound}
        source.digest = hashlib.sha256(" ".join(self.words).encode()).hexdigest()
        return source

    def follow(self, function: str, call: ast.Call) -> bool:
        """Note what a call on a literal imports; whether that can be told."""
        texts = [_text(each) for each in call.args]
        text = texts[0] or ""
        if function in _IMPORTERS:
            module = text.lstrip(".")
            level = len(text) - len(module)
            if level and len(texts) > 1 and texts[1] is not None:
                above = texts[1].split(".")
                module, level = ".".join((*above[: len(above) - level + 1], module)), 0
            self.source.imports.add(Import(level, module))
            # What the call returns: it has no name, and may be asked for anything.
            self.source.bound.setdefault("", set()).add(Import(level, module))
            self.source.uses.add(("",))
        elif function in _EVALUATORS:
            try:
                self.visit(ast.parse(text.strip()))
            except (SyntaxError, ValueError):
                return True
        return function not in _LOADERS


def _chain(node: ast.AST | None) -> Chain | None:
    """The parts of a dotted name; None for all else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else None


def _text(node: ast.AST | None) -> str | None:
    """A literal string; None for all else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
