"""The page and its one service, for browsers of this machine.

There are as many addresses as `_files` and `app` name: none of them holds a name of a file. A page of another site can
neither ask (its origin is refused, and JSON of it needs a permission that is never given) nor read, and a name of
another site that leads here is refused as a host.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_moa import __version__
from lightning_moa.demo.answers import Answers, prompts_of
from lightning_moa.demo.fronts import measured_front
from lightning_moa.demo.line import Full, Job, Line
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HERE = Path(__file__).parent
PAGES = HERE.parent / "pages" / "static"
HELD_OUT = 50
"""Prompts of the held-out set that a page offers."""
LOCAL = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def serve(made: Starlette, host: str, port: int) -> None:
    """Serve until the process is told to end.

    Raises:
        UserError: the address can't be had.
    """
    try:
        sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UserError(
            f"--host {host} --port {port}: can't be listened at, {error.strerror or error}"
        ) from error
    print(f"http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)", flush=True)
    with sock:
        server(made).run(sockets=[sock])


def server(made: Starlette) -> uvicorn.Server:
    """What serves the application; told to end, it ends what is being answered, too."""
    import uvicorn

    class Ending(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Answers are streams, and it waits until all have ended.
            made.state.line.stop()
            await super().shutdown(sockets)

    return Ending(uvicorn.Config(made, log_level="warning"))


def app(
    answers: Answers, *, hosts: Collection[str] = LOCAL, longest: int = 2000, waiting: int = 16
) -> Starlette:
    """The application.

    Args:
        answers: what it serves.
        hosts: names that a browser may know this machine by.
        longest: characters that a prompt may have.
        waiting: requests that may wait behind the one that is answered; the others are told to come again.
    """
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    page = _page(answers, longest)
    line = Line(waiting)

    async def ask(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return _refused(415, "allowed is application/json")
        # Four bytes a character, six where JSON escapes it twice over; and the preference.
        body = await _at_most(request, 12 * longest + 4096)
        if body is None:
            return _refused(413, f"prompt: at most {longest} characters")
        try:
            asked = json.loads(body)
            prompt = asked["prompt"]
            if isinstance(prompt, str) and len(prompt) > longest:
                return _refused(413, f"prompt: {len(prompt)} characters; at most {longest} are allowed")
            job = line.join(answers.request(asked["policy"], prompt, asked["preference"]))
        except UserError as error:
            return _refused(422, str(error))
        except (ValueError, TypeError, KeyError, RecursionError):
            return _refused(400, "allowed is an object of policy, prompt and preference")
        except Full:
            return _refused(503, f"{waiting + 1} are asking already: try again in a moment")
        return StreamingResponse(
            _lines(job), media_type="application/x-ndjson", headers={"Cache-Control": "no-store"}
        )

    def _refused(status: int, message: str) -> Response:
        # A name that was sent may hold half a character, which is no UTF-8.
        return JSONResponse({"message": message.encode(errors="replace").decode()}, status)

    def gives(content: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
        async def give(request: Request) -> Response:
            return Response(content, media_type=kind)

        return give

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        line.close()

    routes = [Route("/", gives(page, "text/html")), Route("/answers", ask, methods=["POST"])]
    routes += [Route(f"/assets/{name}", gives(text, kind)) for name, (text, kind) in _files().items()]
    made = Starlette(routes=routes, lifespan=lifespan)
    made.state.line = line
    made.add_middleware(_Guard, hosts=frozenset(map(_as_asked, hosts)))
    return made


class _Guard:
    """Refuses hosts and origins that are not this page's, and adds headers to what is answered."""

    def __init__(self, app: Any, hosts: Collection[str]) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        given = Headers(scope=scope)
        host, origin = given.get("host", "").lower(), given.get("origin")
        answer: Any = self.app
        if _name_of(host) not in self.hosts:
            answer = PlainTextResponse("this host is not served here; --known-as names further ones", 421)
        elif origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            answer = PlainTextResponse("another site's pages may not ask here", 403)
        await answer(scope, receive, guarded)


def _as_asked(host: str) -> str:
    """A name or an address as a Host header has it."""
    return f"[{host.lower()}]" if ":" in host and not host.startswith("[") else host.lower()


def _name_of(host: str) -> str:
    """A Host header without its port."""
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]


async def _at_most(request: Request, size: int) -> bytes | None:
    """The body, or None where it is longer; no more of it is kept."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > size:
            return None
    return body


async def _lines(job: Job) -> AsyncIterator[str]:
    """Each event as a line of JSON."""
    events = job.events()
    try:
        async for event in events:
            yield json.dumps(event) + "\n"
    finally:
        await events.aclose()  # type: ignore[attr-defined]
        job.dropped.set()


def _files() -> dict[str, tuple[str, str]]:
    """Name to text and kind: of all files that are served, read once."""
    from plotly.offline import get_plotlyjs

    scripts = {
        "page.js": (PAGES / "page.js").read_text(encoding="utf-8"),
        "look.js": (PAGES / "look.js").read_text(encoding="utf-8"),
        "demo.js": (HERE / "static" / "demo.js").read_text(encoding="utf-8"),
        "simplex.js": (HERE / "static" / "simplex.js").read_text(encoding="utf-8"),
        "plotly.min.js": get_plotlyjs(),
    }
    styles = {
        "site.css": (PAGES / "site.css").read_text(encoding="utf-8"),
        "demo.css": (HERE / "static" / "demo.css").read_text(encoding="utf-8"),
    }
    found = {name: (text, "text/javascript") for name, text in scripts.items()}
    return found | {name: (text, "text/css") for name, text in styles.items()}


def _page(answers: Answers, longest: int) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
    )
    # Texts of the data are text: escaped, and given in an element that no browser runs.
    policies = [
        {
            "label": choice.label,
            "objectives": list(choice.objectives),
            "prompts": [each for each in prompts if len(each) <= longest],
            "front": measured_front(choice.study),
        }
        for choice, prompts in zip(answers.choices, prompts_of(answers.choices, HELD_OUT), strict=True)
    ]
    return environment.get_template("demo.html").render(
        version=__version__, setup=json.dumps({"policies": policies}), longest=longest
    )
