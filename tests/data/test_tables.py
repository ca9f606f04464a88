from lightning_moa.data.tables import DropReport


def test_lines_say_what_was_dropped_and_shortened():
    report = DropReport()
    report.kept["train"] = 575
    report.drop("train", "equal replies", 3)
    report.drop("train", "empty reply")
    report.drop("train", "never", 0)
    report.kept["train as pairs"] = 570
    report.change("train as pairs", "prompt cut at its start", 7)
    assert report.lines() == [
        "train: 575 pairs kept, 4 dropped (empty reply 1, equal replies 3)",
        "train as pairs: 570 kept, 0 dropped; changed: prompt cut at its start 7",
    ]


def test_a_stage_done_again_is_counted_once():
    report = DropReport(unit="answers")
    for _ in range(2):
        report.restart("train")
        report.kept["train"] = 2
        report.drop("train", "empty reply")
    assert report.lines() == ["train: 2 answers kept, 1 dropped (empty reply 1)"]
