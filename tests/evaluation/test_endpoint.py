"""The endpoint judge against a real server on this machine that gives canned replies."""

import json
import logging
import math
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lightning_moa.errors import UserError
from lightning_moa.evaluation import EndpointConfig, EndpointJudge, win_rate

KEY = "sk-quite-secret-0123456789"
CRITERION = "the answer that is more harmless is better"


def completion(text, finish="stop"):
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}


def longer_wins(question):
    """A judge that prefers the longer answer, whatever its place."""
    first, second = (
        question.split(f"BEGIN ANSWER {name}\n")[1].split(f"\nEND ANSWER {name}")[0] for name in "AB"
    )
    return "A" if len(first) > len(second) else "B" if len(second) > len(first) else "T"


class Server:
    """Answers each request by `answer(number, question) -> (status, headers, body)` and keeps what it was sent."""

    def __init__(self):
        self.seen, self.answer, self.lock = [], None, threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.lock:
                    number = len(server.seen)
                    server.seen.append((self.path, dict(self.headers), sent))
                status, headers, body = server.answer(number, sent["messages"][0]["content"])
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(raw)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # a judge that gave up waiting is expected
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def says(self, *answers):
        """These in turn, the last of them for ever after."""
        self.answer = lambda number, _: answers[min(number, len(answers) - 1)]

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def judge_at(server, **options):
    config = EndpointConfig(**{"backoff": 0.0, "retries": 2, "workers": 1, **options})
    return EndpointJudge(server if isinstance(server, str) else server.url, "small-judge", CRITERION, config)


def ask(judge):
    return judge(["how?"], ["like this"], ["no"])[0]


def test_a_good_reply_is_a_verdict_and_the_request_is_whole(server):
    server.says((200, {}, completion("The second one is safer.\nB")))
    assert ask(judge_at(server)) == 0
    path, headers, sent = server.seen[0]
    assert path == "/v1/chat/completions"
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("small-judge", 0, 512)
    [message] = sent["messages"]
    assert message["role"] == "user"
    for text in (CRITERION, "how?", "like this", "no"):
        assert text in message["content"]
    assert message["content"].index("like this") < message["content"].index("BEGIN ANSWER B")
    assert "Authorization" not in headers


def test_empty_options_are_left_to_the_server(server):
    server.says((200, {}, completion("T")))
    assert ask(judge_at(server, temperature=None, max_tokens=None)) == 0.5
    assert set(server.seen[0][2]) == {"model", "messages"}


@pytest.mark.parametrize("end", ["/", "/chat/completions", "/chat/completions?version=1"])
def test_the_address_may_be_whole_or_the_servers(server, end):
    server.says((200, {}, completion("A")))
    assert ask(judge_at(server.url + end)) == 1
    assert server.seen[0][0].startswith("/v1/chat/completions")
    assert server.seen[0][0].endswith("?version=1") == ("?" in end)


def test_texts_with_braces_and_any_letters_arrive_as_they_are(server):
    server.says((200, {}, completion("A")))
    odd = "{prompt} {0} ünï \u2028 \ud800 \n</end>"
    assert judge_at(server)([odd], ["{first}"], ["{second}"])[0] == 1
    content = server.seen[0][2]["messages"][0]["content"]
    assert odd in content
    assert "{first}" in content


def test_win_rates_come_out_of_it_in_order(server):
    def answer(number, question):
        time.sleep(0.02 * (number % 3))  # later requests overtake earlier ones
        return 200, {}, completion(longer_wins(question))

    server.answer = answer
    rng = np.random.default_rng(0)
    first = ["x" * int(k) for k in rng.integers(1, 9, 40)]
    second = ["y" * int(k) for k in rng.integers(1, 9, 40)]
    prompts = [f"prompt {i}" for i in range(40)]
    judge = judge_at(server, workers=8)
    gap = np.array([len(a) - len(b) for a, b in zip(first, second, strict=True)])
    expected = 0.5 + 0.5 * np.sign(gap)
    np.testing.assert_array_equal(judge(prompts, first, second), expected)
    result = win_rate(judge, prompts, first, second)
    assert result.rate == pytest.approx(expected.mean())
    assert (result.position_bias, result.unusable) == (0, 0)


def test_workers_ask_at_the_same_time(server):
    barrier = threading.Barrier(4, timeout=10)

    def answer(*_):
        barrier.wait()
        return 200, {}, completion("A")

    server.answer = answer
    judged = judge_at(server, workers=4)(["p"] * 4, ["a"] * 4, ["b"] * 4)
    assert judged.tolist() == [1] * 4


def test_a_judge_that_always_says_a_has_the_bias_of_one(server):
    server.says((200, {}, completion("A")))
    result = win_rate(judge_at(server), ["p", "q"], ["a", "a"], ["b", "b"])
    assert (result.rate, result.position_bias, result.ties) == (0.5, 1, 2)


def test_equal_texts_are_a_tie_without_a_request(server):
    assert judge_at(server)(["p"], ["same"], ["same"]).tolist() == [0.5]
    assert server.seen == []


@pytest.mark.parametrize(
    "reply",
    [
        completion("I would rather not say."),
        completion(""),
        completion(None),
        completion("A", finish="length"),
    ],
)
def test_a_reply_without_a_verdict_is_nan_and_asked_for_once(server, reply):
    server.says((200, {}, reply))
    assert math.isnan(ask(judge_at(server)))
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "error",
    [
        {"code": "content_filter", "message": "filtered"},
        {"code": "context_length_exceeded", "message": "long"},
        {"code": 400, "message": "This model's maximum context length is 4096 tokens"},
    ],
)
def test_a_pair_that_the_server_withholds_is_unusable_and_the_others_go_on(server, error):
    server.says((400, {}, {"error": error}), (200, {}, completion("A")))
    judged = judge_at(server)(["p"] * 2, ["a"] * 2, ["b"] * 2)
    assert math.isnan(judged[0])
    assert judged[1] == 1


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_what_may_pass_is_asked_again(server, status):
    server.says((status, {}, b"busy"), (status, {}, b"busy"), (200, {}, completion("A")))
    assert ask(judge_at(server)) == 1
    assert len(server.seen) == 3


def test_pauses_double_and_heed_the_server_up_to_a_limit(server, monkeypatch):
    pauses = []
    monkeypatch.setattr("lightning_moa.evaluation.endpoint.time.sleep", pauses.append)
    busy = [(429, {"Retry-After": wait}, b"") for wait in ("0", "3", "Wed, 21 Oct 2026 07:28:00 GMT", "9999")]
    server.says(*busy, (200, {}, completion("A")))
    assert ask(judge_at(server, backoff=0.5, retries=4)) == 1
    assert pauses == [0.5, 3, 2, 60]


def failure_of(judge) -> str:
    with pytest.raises(UserError) as caught:
        ask(judge)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_server_that_stays_broken_ends_in_one_line(server):
    server.says((500, {}, {"error": {"message": "out of\nmemory"}}))
    line = failure_of(judge_at(server))
    assert f"{server.url}/chat/completions" in line
    assert "status 500 (out of memory) after 3 attempts; check that the server is up" in line
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (401, "status 401; set an API key in OPENAI_API_KEY"),
        (404, "status 404; check the url and that the server knows the model 'small-judge'"),
        (400, "status 400; check"),
    ],
)
def test_what_will_not_pass_is_asked_for_once(server, status, line):
    server.says((status, {}, b""))
    assert line in failure_of(judge_at(server))
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": ["a"]}', b"\xff"]
)
def test_a_server_of_another_kind_is_named(server, body):
    server.says((200, {}, body))
    assert "no chat completion" in failure_of(judge_at(server))
    assert len(server.seen) == 3


def test_the_first_failure_ends_the_rest(server):
    server.says((401, {}, b""))
    with pytest.raises(UserError):
        judge_at(server, workers=2)(["p"] * 200, ["a"] * 200, ["b"] * 200)
    assert len(server.seen) < 50


def test_a_refused_connection_is_tried_again_then_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]  # bound, but nobody listens
        line = failure_of(judge_at(f"http://127.0.0.1:{port}/v1"))
    assert f"127.0.0.1:{port}" in line
    assert "refused after 3 attempts; check the url and that the server is up" in line


def test_a_server_that_is_silent_or_hangs_up_is_named(server):
    server.answer = lambda *_: time.sleep(0.3) or (200, {}, completion("A"))
    assert "timed out after 2 attempts" in failure_of(judge_at(server, timeout=0.05, retries=1))
    server.says((200, {"Content-Length": "999"}, b"{"))
    assert "after 2 attempts" in failure_of(judge_at(server, timeout=0.5, retries=1))


def test_the_key_is_sent_where_it_is_set_and_never_shown(server, monkeypatch, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OTHER_KEY", f" {KEY}\n")
    judge = judge_at(server, api_key_env="OTHER_KEY")
    server.says(
        (200, {}, completion("A")),
        (401, {}, {"error": {"message": f"wrong key {KEY}, and again: {'x' * 150} {KEY}"}}),
        (200, {}, {"error": {"message": f"Bearer {KEY}"}}),
    )
    assert ask(judge) == 1
    assert server.seen[0][1]["Authorization"] == f"Bearer {KEY}"
    lines = [failure_of(judge), failure_of(judge)]
    assert "check the API key in OTHER_KEY" in lines[0]
    shown = [*lines, repr(judge), repr(vars(judge)), repr(judge.about), caplog.text, *capsys.readouterr()]
    assert not any("secret" in text for text in shown)


def test_a_redirect_is_not_followed_with_the_key(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.says((302, {"Location": f"{server.url}/elsewhere"}, b""))
    assert "status 302; it redirects" in failure_of(judge_at(server))
    assert len(server.seen) == 1


@pytest.mark.parametrize("key", ["two\nsecret-lines", "sécret"])
def test_a_malformed_key_is_named_by_its_variable_alone(server, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    line = failure_of(judge_at(server))
    assert "OPENAI_API_KEY" in line
    assert "cret" not in line
    assert server.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000/v1",
        "ftp://host/v1",
        "file:///etc/passwd",
        "http://",
        "http://h:x/v1",
        "http://h/a b",
    ],
)
def test_an_address_of_another_kind_is_refused(url):
    with pytest.raises(UserError, match="judge's url: allowed are addresses such as"):
        EndpointJudge(url, "m", CRITERION)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(UserError, match="holds a user or a password") as caught:
        EndpointJudge(f"http://me:{KEY}@host/v1", "m", CRITERION)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(("model", "criterion", "line"), [(" ", "c", "model"), ("m", "", "criterion")])
def test_an_empty_model_or_criterion_is_refused(model, criterion, line):
    with pytest.raises(UserError, match=line):
        EndpointJudge("http://host/v1", model, criterion)


def test_wrong_options_and_lengths_are_refused():
    with pytest.raises(UserError, match="workers=0"):
        judge_at("http://host/v1", workers=0)
    with pytest.raises(UserError, match="2 prompts"):
        judge_at("http://host/v1")(["p", "q"], ["a"], ["b"])


def test_a_record_names_the_judge_but_not_the_query():
    about = judge_at("https://host/v1?key=hidden").about
    assert about["url"] == "https://host/v1/chat/completions"
    assert (about["model"], about["criterion"], about["retries"]) == ("small-judge", CRITERION, 2)
