from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from gitract_core.errors import DataError
from gitract_core.organs import CONTEST
from orchestrator.report.overlay import overlay, png_bytes
from orchestrator.report.style import figure_bytes, new_figure, save_figure


def rgb(organ: str) -> list[int]:
    text = CONTEST.colors[organ].lstrip("#")
    return [int(text[i : i + 2], 16) for i in (0, 2, 4)]


def test_pixels_inside_one_organ_lean_to_its_color_and_others_stay_gray() -> None:
    image = np.full((30, 40), 100, np.uint8)
    masks = np.zeros((3, 30, 40), bool)
    masks[1, 10:20, 10:20] = True
    picture = overlay(image, masks, CONTEST, fill=0.5, scale=1)
    assert picture.shape == (30, 40, 3)
    assert picture[2, 2].tolist() == [100, 100, 100]
    expected = (50 + 0.5 * np.array(rgb("small_bowel"))).round()
    assert np.abs(picture[15, 15] - expected).max() <= 1
    assert picture[10, 12].tolist() == rgb("small_bowel")  # the outline has the full color


def test_an_overlay_refuses_masks_of_another_slice() -> None:
    with pytest.raises(DataError, match="masks"):
        overlay(np.zeros((5, 6), np.uint8), np.zeros((3, 6, 5), bool), CONTEST)


def test_png_bytes_keep_every_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    back = cv2.imdecode(np.frombuffer(png_bytes(picture), np.uint8), cv2.IMREAD_COLOR)
    assert back is not None
    assert (back[:, :, ::-1] == picture).all()


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_equal_figures_give_equal_bytes_and_nothing_half_written(kind: str, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        figure, (axes,) = new_figure()
        axes.plot([1, 2, 3], color=CONTEST.colors["stomach"])
        contents.append(figure_bytes(figure, kind))
    assert contents[0] == contents[1]
    path = save_figure(figure, tmp_path / "new" / f"chart.{kind}")
    assert path.read_bytes() == contents[0]
    assert [p.name for p in path.parent.iterdir()] == [path.name]
