"""The site: pages from templates, data beside them, and copies of the files to download."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning_moa import __version__
from lightning_moa.errors import UserError
from lightning_moa.folders import check_writable
from lightning_moa.pages.compared import comparisons
from lightning_moa.pages.content import Content, Panel, dump, read_content
from lightning_moa.pages.found import SITE, counted, find_results, slug
from lightning_moa.pages.measures import HEADER, measures_of
from lightning_moa.pages.pictures import write_picture
from lightning_moa.pages.reading import Picture
from lightning_moa.pages.wording import facts, file_size, is_number, short
from lightning_moa.reporting.catalogue import ARTEFACTS, by_chance
from lightning_moa.reporting.claim_rows import relation_of
from lightning_moa.reporting.files import in_the_making

NEEDED = ("jinja2", "plotly")
"""Packages of the extra `report`."""
HERE = Path(__file__).parent
TITLE = "Multi-objective alignment"
LARGE = 20_000
"""Bytes above which a table is packed."""
Measures = list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Place:
    """A part of a result that a method stands in, and its measures there."""

    content: Content
    panel: Panel
    rows: list[list[str]]


@dataclass
class Method:
    """A method's page."""

    name: str
    label: str
    page: str
    places: list[Place] = field(default_factory=list)


@dataclass(frozen=True)
class Written:
    """What a site came to."""

    results: int
    bytes: int
    problems: list[str]
    """Of all results, each with the result's name."""
    measured: int
    """Results with responses from the folder of the runs."""


def write_site(paths: Sequence[str | Path], to: str | Path, runs: str | Path | None = None) -> Written:
    """Write the site of all results in and below folders.

    Args:
        paths: folders of results, or above them.
        to: a folder that is new, empty, or a site that was written before, which is replaced.
        runs: the folder of the runs, for the responses that were measured.

    Returns:
        How many results, the site's size, and what could not be read.

    Raises:
        UserError: no results, a folder that can't be written or holds anything else, or the extra `report` is missing.
    """
    _check_installed()
    target = Path(to)
    _check_free(target)
    if runs is not None and not Path(runs).is_dir():
        raise UserError(f"--runs {runs}: no such folder")
    results = find_results(paths)
    contents = [read_content(result, None if runs is None else Path(runs)) for result in results]
    try:
        with in_the_making(target) as scratch:
            _Site(scratch, contents).write()
    except OSError as error:
        raise UserError(
            f"{target}: can't be written, {error.strerror or error}; nothing was changed"
        ) from error
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    problems = [f"{content.name}: {problem}" for content in contents for problem in content.problems]
    measured = sum(any(panel.measured for panel in content.panels) for content in contents)
    return Written(len(contents), size, problems, measured)


class _Site:
    """Writes the files of a site into a folder of its own."""

    def __init__(self, folder: Path, contents: list[Content]) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self.folder = folder
        self.contents = contents
        self.thumbs: dict[str, str] = {}
        """A result's key -> the small picture of it, where it has one."""
        self.environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters |= {
            "page": page_of,
            "slug": lambda text: slug(str(text)),
            "short": short,
            "relation": relation_of,
            "facts": facts,
            "yaml": dump,
        }
        self.environment.tests["number_like"] = is_number

    def write(self) -> None:
        # First, so that a site that is half-written is known as one.
        self._put(SITE, json.dumps({"version": __version__, "results": len(self.contents)}))
        self._assets()
        measures = {panel.key: measures_of(panel) for _, panel in self._panels()}
        methods = _methods(self.contents, measures)
        for _, panel in self._panels():
            if panel.front is not None:
                self._script(f"data/{panel.key}.js", f"moa.data[{_json(panel.key)}]", panel.front)
        (self.folder / "thumbs").mkdir()
        for content in self.contents:
            self._result(content, dict(self._copies(content)), measures)
        self._index()
        self._render("methods.html", "methods.html", methods=methods)
        for method in methods:
            self._render("method.html", method.page, method=method, header=HEADER[1:])
        self._compare()
        self._script("assets/words.js", "moa.words", list(_words(self.contents, methods)))

    def _panels(self) -> Iterator[tuple[Content, Panel]]:
        for content in self.contents:
            for panel in content.panels:
                yield content, panel

    def _assets(self) -> None:
        from plotly.offline import get_plotlyjs

        for file in sorted((HERE / "static").iterdir()):
            if file.suffix in (".js", ".css"):
                self._put(f"assets/{file.name}", file.read_text(encoding="utf-8"))
        self._put("assets/plotly.min.js", get_plotlyjs())

    def _copies(self, content: Content) -> Iterator[tuple[Path, str]]:
        """(file, its URL in the site) of each file of a result, copied there; pictures as WebP, large tables packed."""
        taken: dict[str, dict[str, int]] = {}
        for panel in content.panels:
            pictures = [picture.file for picture in panel.pictures]
            for file in panel.part.files:
                stem = counted(f"files/{panel.key}/{slug(file.stem)}", taken.setdefault(file.suffix, {}))
                (self.folder / stem).parent.mkdir(parents=True, exist_ok=True)
                if file in pictures and self._picture(content, file, f"{stem}.webp"):
                    yield file, f"{stem}.webp"
                elif file.suffix == ".csv" and file.stat().st_size > LARGE:
                    # Without a time in it, so that the same results make the same site.
                    packed = gzip.compress(file.read_bytes(), mtime=0)
                    (self.folder / f"{stem}.csv.gz").write_bytes(packed)
                    yield file, f"{stem}.csv.gz"
                else:
                    shutil.copyfile(file, self.folder / f"{stem}{file.suffix}")
                    yield file, f"{stem}{file.suffix}"

    def _picture(self, content: Content, file: Path, name: str) -> bool:
        """Whether a picture could be written; a result's first one has a small one, too."""
        thumb = f"thumbs/{content.result.key}.webp"
        first = thumb not in self.thumbs.values()
        try:
            write_picture(file, self.folder / name, self.folder / thumb if first else None)
        # Whatever a picture of somebody else's does to its decoder.
        except Exception as error:
            content.problems.append(f"{file.name}: {type(error).__name__}: {error}")
            return False
        self.thumbs[content.result.key] = thumb
        return True

    def _result(self, content: Content, urls: Mapping[Path, str], measures: Mapping[str, Measures]) -> None:
        panels = content.panels
        pictures: list[tuple[Panel, Picture, str]] = [
            (panel, picture, urls[picture.file]) for panel in panels for picture in panel.pictures
        ]
        fronts = [panel for panel in panels if panel.front is not None]
        responses = [(panel, each) for panel in panels for each in panel.responses]
        tables = [(panel, each) for panel in panels for each in panel.tables]
        rows = [[panel.part.name or "-", *row] for panel in panels for _, row in measures[panel.key]]
        shown = {
            "picture": ("Picture", pictures),
            "front": ("Front", fronts),
            "numbers": ("Measures", rows),
            "claims": ("Claims", content.claims is not None),
            "responses": ("Responses", responses),
            "tables": ("Tables", tables),
            "made": ("How it was made", True),
            "files": ("Files", True),
        }
        commit = content.record.get("commit")
        known = commit.get("id") if isinstance(commit, Mapping) else None
        self._render(
            "result.html",
            page_of(content),
            content=content,
            standing=content.standing,
            sections=[(key, name) for key, (name, there) in shown.items() if there],
            pictures=pictures,
            fronts=fronts,
            names=[panel.part.name or "the whole" for panel in fronts],
            measures=[["part", *HEADER], *rows] if rows else [],
            responses=responses,
            tables=tables,
            open_tables=not pictures and not fronts,
            commit=known if isinstance(known, str) and known.isalnum() else None,
            downloads=[
                (panel, [self._download(file, urls[file]) for file in panel.part.files]) for panel in panels
            ],
        )

    def _download(self, file: Path, url: str) -> tuple[str, str, str]:
        """Name, URL and size."""
        packed = file.suffix == ".csv" and url.endswith(".gz")
        name = f"{file.name}.gz" if packed else file.stem + Path(url).suffix
        return name, url, file_size(self.folder / url)

    def _index(self) -> None:
        papers: dict[str, list[Content]] = {}
        for content in self.contents:
            papers.setdefault(content.result.paper, []).append(content)
        here = {(content.result.paper, content.result.artefact) for content in self.contents}
        judged = [content.claims for content in self.contents if content.claims is not None]
        self._render(
            "index.html",
            "index.html",
            contents=self.contents,
            papers=papers,
            scales=sorted({content.result.scale for content in self.contents}),
            thumbs=self.thumbs,
            problems=any(content.problems for content in self.contents),
            missing=[each for each in ARTEFACTS if (each.paper, each.name) not in here],
            judged=sum(map(len, judged)),
            chance=sum(map(by_chance, judged)),
        )

    def _compare(self) -> None:
        panels: dict[str, list[Panel]] = {}
        for content, panel in self._panels():
            if panel.front is not None:
                panels.setdefault(content.result.paper, []).append(panel)
        runs = {panel.key: panel.run for mine in panels.values() for panel in mine if panel.run is not None}
        pairs, left_out = comparisons(runs)
        for key, mine in pairs.items():
            self._script(f"compare/{key}.js", f"moa.pairs[{_json(key)}]", mine)
        self._render("compare.html", "compare.html", panels=panels, left_out=left_out)

    def _render(self, template: str, page: str, **context: Any) -> None:
        text = self.environment.get_template(template).render(
            site=TITLE, version=__version__, here=page, made=None, **context
        )
        self._put(page, text)

    def _script(self, name: str, variable: str, value: Any) -> None:
        """JSON as a script: a page that is opened from the disk may load scripts, but no other files."""
        self._put(name, f"{variable} = {_json(value)};\n")

    def _put(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # YAML and JSON may hold halves of characters, which no file can.
        path.write_bytes(text.encode(errors="replace"))


def page_of(content: Content) -> str:
    """The page of a result, as it is linked."""
    return f"result-{content.result.key}.html"


def _methods(contents: Sequence[Content], measures: Mapping[str, Measures]) -> list[Method]:
    found: dict[str, Method] = {}
    pages: dict[str, int] = {}
    for content in contents:
        for panel in content.panels:
            for each in panel.front["methods"] if panel.front else []:
                name = each["name"]
                if name not in found:
                    page = counted(f"method-{slug(name)}", pages)
                    found[name] = Method(name, each["label"], f"{page}.html")
                rows = [cells[1:] for mine, cells in measures[panel.key] if mine == name]
                found[name].places.append(Place(content, panel, rows))
    return sorted(found.values(), key=lambda method: method.label.lower())


def _words(contents: Sequence[Content], methods: Sequence[Method]) -> Iterator[dict[str, str]]:
    """What the search looks through: `title`, `text`, `shown` of it, `kind` and `page`."""

    def entry(kind: str, title: str, page: str, shown: str, more: str = "") -> dict[str, str]:
        return {"kind": kind, "title": title, "page": page, "shown": shown, "text": f"{shown} {more}"}

    for content in contents:
        page = page_of(content)
        settings = "\n".join(dict.fromkeys(panel.config for panel in content.panels[:1]))
        names = " ".join([*content.methods, *content.methods.values()])
        yield entry("result", content.title, page, content.name, names)
        if settings or content.record:
            yield entry(
                "settings",
                content.name,
                f"{page}#made",
                "configuration and machine",
                settings or dump(dict(content.record)),
            )
        for whose in ("paper", "ours"):
            for row in content.claims_of(whose):
                shown = f"{row['verdict']}, {content.name}, {row['where']}"
                yield entry("claim", row["claim"], f"{page}#claim-{row['number']}", shown, row["statistic"])
    for method in methods:
        yield entry(
            "method", method.label, method.page, f"in {len(method.places)} parts of results", method.name
        )


def _json(value: Any) -> str:
    """JSON that may stand in a script, in a page too: only ASCII, and nothing that could end the script."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _check_installed() -> None:
    for package in NEEDED:
        if find_spec(package) is None:
            raise UserError(
                f"moa report: needs {package}, which is not installed; pip install lightning_moa[report] brings it"
            )


def _check_free(target: Path) -> None:
    check_writable(target)
    if target.is_dir() and any(target.iterdir()) and not (target / SITE).is_file():
        raise UserError(
            f"{target}: holds something else; allowed is a new or empty folder, or a site to replace"
        )
