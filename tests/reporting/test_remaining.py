"""Time left of work in parts of several kinds."""

import pytest

from lightning_moa.reporting.remaining import Left, Part, clock, kind_of, left_of


def test_the_pace_of_what_is_done_says_what_is_left():
    parts = [Part("train", 5, 1.0, seconds=20), Part("train", 5), Part("train", 5)]
    assert left_of(parts, workers=2) == Left(20, whole=True)
    assert left_of(parts, workers=1) == Left(40, whole=True)


def test_each_kind_has_a_pace_of_its_own():
    """A fast preparation says nothing of trainings whose expected time is a hundred times too short."""
    prepared = Part("prepare", 20, 1.0, seconds=1)
    assert left_of([prepared, Part("train", 4)], workers=1) is None
    training = Part("train", 4, 0.25, seconds=100)
    assert left_of([prepared, training], workers=1) == Left(300, whole=True)
    left = left_of([prepared, training, Part("measure", 4)], workers=1)
    assert left == Left(300, whole=False)
    assert str(left) == "more than 5:00 left"


def test_what_an_earlier_start_did_took_none_of_this_ones_time():
    assert left_of([Part("train", 10, 0.75, before=0.5, seconds=10)], workers=1) == Left(10, whole=True)


def test_no_number_of_workers_is_faster_than_the_longest_part():
    done, long = Part("train", 1, 1.0, seconds=2), Part("train", 30, 0.5, seconds=30)
    assert left_of([done, long, done], workers=8) == Left(pytest.approx(15 * 34 / 17), whole=True)


def test_nothing_left():
    assert left_of([Part("train", 5, 1.0, seconds=20)], workers=2) == Left(0, whole=True)
    assert left_of([], workers=1) == Left(0, whole=True)


def test_words():
    assert str(Left(65, whole=True)) == "about 1:05 left"
    assert clock(7265) == "2:01:05"
    assert kind_of("reward_model-00ff") == "reward_model"
