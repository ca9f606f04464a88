"""Where a method was measured."""

from __future__ import annotations

from types import SimpleNamespace

from lightning_moa.demo.fronts import measured_front
from tests.reporting.frames import points_frame


def test_policies_that_ended_after_fewer_updates_are_there(tmp_path):
    points = points_frame({"m": 1.0}, seeds=(0,), step=0.5)
    points["policy"] = [f"policy {i}" for i in range(len(points))]
    points["step"] = range(1, len(points) + 1)
    points.to_csv(tmp_path / "points.csv", index=False)
    front = measured_front(SimpleNamespace(results=tmp_path, method="m", seed=0))
    assert len(front["points"]) == len(points) == 3
