"""One at a time, a few in line, the others refused."""

from __future__ import annotations

import asyncio
import threading

import pytest

from lightning_moa.demo.line import Full, Line
from lightning_moa.errors import UserError


async def all_of(job):
    return [event async for event in job.events()]


def test_one_works_some_wait_and_the_others_are_refused():
    line, working, most, lock, free = Line(2), 0, 0, threading.Lock(), threading.Event()

    def work(give):
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        assert free.wait(10)
        give({"event": "done"})
        with lock:
            working -= 1

    async def asked():
        jobs = [line.join(work) for _ in range(3)]
        with pytest.raises(Full):
            line.join(work)
        free.set()
        found = await asyncio.gather(*map(all_of, jobs))
        assert [events[0] for events in found] == [{"event": "waiting", "before": i} for i in range(3)]
        assert all(events[1:] == [{"event": "done"}] for events in found)
        # There is room again.
        assert len(await all_of(line.join(work))) == 2

    asyncio.run(asked())
    assert most == 1
    line.close()


def test_who_has_left_is_not_begun_with_and_work_ends_when_they_leave():
    line, begun, told, ended = Line(2), [], threading.Event(), threading.Event()

    def endless(give):
        try:
            while True:
                give({"event": "more"})
                told.wait(0.01)
        finally:
            ended.set()

    async def asked():
        first, second = line.join(endless), line.join(lambda give: begun.append(1))
        second.dropped.set()
        events = first.events()
        assert [await anext(events) for _ in range(2)][1] == {"event": "more"}
        await events.aclose()
        assert await asyncio.to_thread(ended.wait, 10)
        assert await all_of(line.join(lambda give: give({"event": "next"})))

    asyncio.run(asked())
    line.close()
    assert not begun


def test_what_fails_is_said_and_the_next_is_answered(capsys):
    line = Line(2)

    def wrong(give):
        raise UserError("prompt: no")

    def broken(give):
        raise ZeroDivisionError("/home/secret")

    async def asked():
        assert (await all_of(line.join(wrong)))[-1] == {"event": "error", "message": "prompt: no"}
        assert (await all_of(line.join(broken)))[-1] == {
            "event": "error",
            "message": "it failed: ZeroDivisionError",
        }
        assert (await all_of(line.join(lambda give: give({"event": "next"}))))[-1] == {"event": "next"}

    asyncio.run(asked())
    line.close()
    assert "secret" in capsys.readouterr().err
