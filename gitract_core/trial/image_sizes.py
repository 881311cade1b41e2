"""How large a data set's images are in the patient; predictions of others are doubted by it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gitract_core.data.slices import SLICE_THICKNESS_MM


def image_sizes(table: pd.DataFrame) -> dict[str, float]:
    """Usual sizes of a data set's images, mm: of pixels, between slices, of the field of view.

    Args:
        table: of the slice index.
    """
    x, y = (table[f"spacing_{axis}_mm"].to_numpy(float) for axis in "xy")
    sides = np.stack([table["width"].to_numpy() * x, table["height"].to_numpy() * y])
    deep = table["spacing_z_mm"] if "spacing_z_mm" in table.columns else [SLICE_THICKNESS_MM]
    sizes = {"pixel_mm": np.stack([x, y]), "slice_mm": deep, "field_mm": sides}
    return {name: round(float(np.median(values)), 4) for name, values in sizes.items()}
