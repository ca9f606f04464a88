import numpy as np
import pytest

from lightning_moa.world import Size
from lightning_moa.world.grammar import MAX_COUNT, STATES, Grammar, Group, Previous, state, states
from lightning_moa.world.language import END, START


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar.of(Size())


def test_reference_is_a_distribution_in_every_state(grammar: Grammar) -> None:
    np.testing.assert_allclose(np.exp(grammar.log_groups).sum(axis=0), 1.0, atol=1e-12)
    for log in grammar.log_tokens:
        np.testing.assert_allclose(np.exp(log).sum(), 1.0, atol=1e-12)


def test_every_token_has_one_group_and_place_for_each_topic(grammar: Grammar) -> None:
    for topic in range(grammar.size.topics):
        ids = np.concatenate([members[:, topic] for members in grammar.members])
        assert sorted(ids) == list(range(len(grammar.words)))
        for group, members in enumerate(grammar.members):
            assert (grammar.groups[topic, members[:, topic]] == group).all()
            assert (grammar.slots[topic, members[:, topic]] == np.arange(len(members))).all()


def test_words_of_a_topic_are_off_topic_elsewhere(grammar: Grammar) -> None:
    lexicon = grammar.lexicon
    brakes, cars = grammar.words.index("brakes"), lexicon.topics.index("cars")
    expected = [Group.INFO if topic == cars else Group.OFF_TOPIC for topic in range(len(lexicon.topics))]
    assert list(grammar.groups[:, brakes]) == expected


def test_states_are_numbered_once() -> None:
    assert sorted([START, END, *(index for index, *_ in states())]) == list(range(STATES))


def test_openers_choose_the_mode_and_content_is_counted(grammar: Grammar) -> None:
    after = grammar.next_state
    assert after[Group.SAFE, START] == state(3, Previous.OPENER, 0)
    assert after[Group.INFO, state(3, Previous.OPENER, 0)] == state(3, Previous.INFO, 1)
    assert after[Group.OFF_TOPIC, state(1, Previous.JOKE, 2)] == state(1, Previous.FILLER, 2)
    assert after[Group.JOKE, state(2, Previous.JOKE, MAX_COUNT)] == state(2, Previous.JOKE, MAX_COUNT)
    assert after[Group.CLOSER, state(1, Previous.JOKE, 2)] == state(1, Previous.CLOSER, 2)


def test_nothing_but_the_end_changes_a_closed_response(grammar: Grammar) -> None:
    closed = state(0, Previous.CLOSER, 3)
    assert set(grammar.next_state[: Group.EOS, closed]) == {closed}
    assert (grammar.next_state[Group.EOS] == END).all()
    assert (grammar.next_state[:, END] == END).all()
