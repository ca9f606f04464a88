import numpy as np
import pytest

from lightning_moa.data.beavertails import BeaverTails
from lightning_moa.data.configs import BeaverTailsConfig
from lightning_moa.errors import UserError

from .support import write_lines


def rows(count, words="answer"):
    return [
        {
            "prompt": f"{words} to {i // 3}?",
            "response": f"{words} {i}",
            "is_safe": i % 2 == 0,
            "category": {"animal_abuse": False},
        }
        for i in range(count)
    ]


@pytest.fixture
def data(tmp_path):
    return BeaverTails(BeaverTailsConfig(path=str(write_lines(tmp_path / "rows.jsonl", rows(90)))))


def test_answers_prompts_and_rewards(data, tokenizer):
    prompts, responses = data.sft_rows("train")
    assert len(prompts) == len(responses) == len(data.prompt_list("train")) * 3
    assert not set(prompts) & set(data.sft_rows("eval")[0])
    safe = [int(response.split()[1]) % 2 == 0 for response in responses]
    np.testing.assert_array_equal(data.sequence_rewards("train")[:, 0], safe)
    (batch,) = data.batches(tokenizer, "train", "sequences", 1000)
    assert batch.rewards[:, 0].tolist() == safe
    (batch,) = data.batches(tokenizer, "train", "prompts", 1000)
    assert batch.prompts == data.prompt_list("train")
    assert f"train: {len(prompts)} answers kept, 0 dropped" in data.report.lines()


def test_pairs_are_refused_with_a_way_out(data, tokenizer):
    with pytest.raises(UserError, match="PKU-SafeRLHF"):
        data.table("train")
    with pytest.raises(UserError, match="PKU-SafeRLHF"):
        data.use(tokenizer, "pairs", batch_size=2, steps=1, seed=0)


def test_a_copy_of_the_repository_gives_the_edition(tmp_path):
    for size, count in (("30k", 6), ("330k", 9)):
        write_lines(tmp_path / "round0" / size / "train.jsonl", rows(count, size))
        write_lines(tmp_path / "round0" / size / "test.jsonl", rows(3, f"{size} held"))
    small = BeaverTails(BeaverTailsConfig(path=str(tmp_path)))
    large = BeaverTails(BeaverTailsConfig(path=str(tmp_path), size="330k"))
    assert len(small.sft_rows("train")[0]) == 6
    assert len(large.sft_rows("train")[0]) == 9
    assert len(large.sft_rows("eval")[0]) == 3


def test_the_hub_is_asked_for_the_edition(monkeypatch):
    asked = []

    def read(hub_id, revision, splits):
        asked.append((hub_id, revision, splits))
        raise UserError("enough")

    monkeypatch.setattr("lightning_moa.data.beavertails.read_hub", read)
    config = BeaverTailsConfig(size="330k")
    with pytest.raises(UserError, match="enough"):
        BeaverTails(config).sft_rows("train")
    splits = {"train": "330k_train", "eval": "330k_test"}
    assert asked == [("PKU-Alignment/BeaverTails", config.revision, splits)]


def test_a_missing_column_is_named(tmp_path):
    path = write_lines(tmp_path / "rows.jsonl", [{"prompt": "p", "response": "r"}])
    with pytest.raises(UserError, match="no column 'is_safe'; it has prompt, response"):
        BeaverTails(BeaverTailsConfig(path=str(path))).sft_rows("train")
