"""The page's addresses, in process."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import pytest

from lightning_moa.cli import main
from lightning_moa.demo.answers import Answers
from lightning_moa.demo.choices import choices
from lightning_moa.demo.server import app, server

JSON = {"content-type": "application/json"}
ASKED = {"policy": 0, "prompt": "steal boats", "preference": [0.5, 0.5]}


class Held(Answers):
    """Begins with none of its answers before `begin` is set."""

    begin = threading.Event()

    def request(self, *asked):
        work = super().request(*asked)

        def held(tell):
            assert self.begin.wait(60)
            work(tell)

        return held


@pytest.fixture(scope="module")
def client(study):
    from starlette.testclient import TestClient

    with TestClient(app(Held(choices(study)), waiting=4), base_url="http://127.0.0.1:8000") as client:
        Held.begin.set()
        yield client


def events_of(response):
    return [json.loads(line) for line in response.text.splitlines()]


def test_twenty_at_once_are_answered_or_told_to_come_again(client):
    def ask(i):
        return client.post("/answers", json={**ASKED, "prompt": f"steal boats {i}"})

    Held.begin.clear()
    with ThreadPoolExecutor(20) as pool:
        asking = [pool.submit(ask, i) for i in range(20)]
        refused = [each.result() for each in islice(as_completed(asking, 60), 15)]
        assert {each.status_code for each in refused} == {503}
        assert all("try again" in each.json()["message"] for each in refused)
        assert sum(not each.done() for each in asking) == 5
        Held.begin.set()
    answered = [each.result() for each in asking if each.result().status_code == 200]
    assert len(answered) == 5
    for each in answered:
        assert len([event for event in events_of(each) if event.get("done")]) == 4
    # Whoever comes again is answered.
    assert ask(0).status_code == 200


@pytest.mark.parametrize("prompt", ["x" * 100_000, "☃" * 100_000, "x" * 2001])
def test_a_long_prompt_is_refused(client, prompt):
    response = client.post("/answers", json={**ASKED, "prompt": prompt})
    assert response.status_code == 413
    assert "2000" in response.json()["message"]
    assert client.post("/answers", json=ASKED).status_code == 200


def test_the_longest_prompt_is_answered_however_it_is_written(client):
    body = json.dumps({**ASKED, "prompt": "\U0001f600" * 2000})
    response = client.post("/answers", content=body, headers=JSON)
    assert response.status_code == 200
    assert events_of(response)[-1]["event"] in ("best", "error")


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/assets/../server.py",
        "/assets/%2e%2e/%2e%2e/server.py",
        "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/assets//etc/passwd",
        "/run.yaml",
        "/assets/",
        "/templates/demo.html",
    ],
)
def test_no_file_is_read_by_its_name(client, path):
    assert client.get(path).status_code == 404


def test_the_files_of_the_page_are_there(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    names = ("page.js", "look.js", "simplex.js", "demo.js", "plotly.min.js", "site.css", "demo.css")
    for name in names:
        assert f"assets/{name}" in page.text
        assert client.get(f"/assets/{name}").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::1", ""])
def test_another_host_is_refused(client, host):
    for response in (
        client.get("/", headers={"host": host}),
        client.post("/answers", json=ASKED, headers={"host": host}),
    ):
        assert response.status_code == 421


def test_further_hosts_are_those_that_are_named(study):
    from starlette.testclient import TestClient

    with TestClient(app(Answers(choices(study)), hosts=["Lab.example"])) as client:
        assert client.get("/", headers={"host": "lab.example:80"}).status_code == 200
        assert client.get("/", headers={"host": "localhost"}).status_code == 421


def test_an_address_of_six_is_known_in_brackets(study):
    from starlette.testclient import TestClient

    with TestClient(app(Answers(choices(study)), hosts=["::", "FD00::1"])) as client:
        for host in ("[::]:8000", "[fd00::1]"):
            assert client.get("/", headers={"host": host}).status_code == 200
        assert client.get("/", headers={"host": "[fd00::2]"}).status_code == 421


def test_another_origin_may_not_ask(client):
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9", "https://localhost"):
        response = client.post("/answers", json=ASKED, headers={"origin": origin})
        assert response.status_code == 403
    own = client.post("/answers", json=ASKED, headers={"origin": "http://127.0.0.1:8000"})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    # What a form of another site can send without asking is no JSON.
    assert client.post("/answers", content=json.dumps(ASKED)).status_code == 415


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("[]", 400),
        ("7", 400),
        ("{}", 400),
        ("[" * 5000, 400),
        (b"\xff\xfe", 400),
        (json.dumps({**ASKED, "policy": 3}), 422),
        (json.dumps({**ASKED, "policy": "../x"}), 422),
        (json.dumps({**ASKED, "prompt": ["a"]}), 422),
        (json.dumps({**ASKED, "preference": [2, -1]}), 422),
        (json.dumps({**ASKED, "preference": [float("nan"), 1]}), 422),
        (json.dumps({**ASKED, "preference": None}), 422),
        (json.dumps({**ASKED, "preference": {"\ud800": 1}}), 422),
    ],
)
def test_what_is_no_request_is_said_to_be_none(client, body, status):
    response = client.post("/answers", content=body, headers=JSON)
    assert response.status_code == status
    assert response.json()["message"]
    assert client.get("/answers").status_code == 405


def test_told_to_end_it_ends_what_is_being_answered(study):
    class Endless(Answers):
        def request(self, *asked):
            def work(tell):
                while True:
                    tell({"event": "answer", "which": "chosen", "text": "more", "done": False})
                    time.sleep(0.01)

            return work

    made = server(app(Endless(choices(study))))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=made.run, kwargs={"sockets": [sock]})
        thread.start()
        address = f"http://127.0.0.1:{sock.getsockname()[1]}/answers"
        asking = urllib.request.Request(address, json.dumps(ASKED).encode(), JSON)
        with urllib.request.urlopen(asking, timeout=30) as response:
            assert b"waiting" in response.readline()
            assert b"more" in response.readline()
            made.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def test_a_missing_extra_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("lightning_moa.demo.installed.NEEDED", ("no_such_package",))
    assert main(["demo", "results"]) == 2
    assert "pip install lightning_moa[demo]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "0"], "at least 1"),
        (["--waiting", "-1"], "at least 0"),
        (["--device", "cuda"], "cuda"),
        ([], "no such folder"),
    ],
)
def test_wrong_arguments_are_one_line(words, said, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    pytest.importorskip("uvicorn", reason="the extra `demo` is not installed")
    assert main(["demo", "no_such_folder", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1
