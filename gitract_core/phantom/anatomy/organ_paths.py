"""Center lines of stomach, large bowel and small bowel, in the body's own coordinates.

u runs from -1 at the image's left (the patient's right, where the liver is) to 1, v from -1 at the
belly to 1 at the back, z from 0 at the organ's highest slice to 1 at its lowest. Radii are given
as a fraction of the body's half height. Shapes follow ordinary anatomy: the stomach hangs as a J,
the large bowel frames the small bowel.
"""

from __future__ import annotations

import numpy as np

from gitract_core.phantom.anatomy.curves import smooth_curve

_STOMACH = np.array(
    [
        # u, v, z, radius
        (0.34, 0.06, 0.00, 0.19),
        (0.38, -0.08, 0.15, 0.27),
        (0.40, -0.26, 0.38, 0.25),
        (0.37, -0.45, 0.62, 0.22),
        (0.24, -0.60, 0.85, 0.20),
        (0.06, -0.60, 0.97, 0.17),
        (-0.10, -0.48, 0.98, 0.13),
        (-0.20, -0.34, 0.90, 0.10),
    ]
)
_LARGE = np.array(
    [
        (-0.52, -0.24, 1.00, 0.17),
        (-0.64, -0.16, 0.84, 0.20),
        (-0.68, -0.06, 0.64, 0.17),
        (-0.66, -0.04, 0.46, 0.17),
        (-0.58, -0.22, 0.33, 0.16),
        (-0.52, -0.52, 0.33, 0.16),
        (-0.30, -0.74, 0.38, 0.16),
        (0.02, -0.80, 0.42, 0.15),
        (0.30, -0.76, 0.36, 0.15),
        (0.52, -0.56, 0.24, 0.14),
        (0.62, -0.28, 0.10, 0.14),
        (0.66, -0.06, 0.02, 0.17),
        (0.74, 0.04, 0.16, 0.15),
        (0.78, 0.02, 0.36, 0.15),
        (0.78, -0.06, 0.60, 0.15),
        (0.74, -0.18, 0.82, 0.14),
        (0.60, -0.26, 1.00, 0.13),
    ]
)
_DUODENUM = np.array(
    [
        (-0.20, -0.30, 0.04, 0.09),
        (-0.31, -0.08, 0.12, 0.10),
        (-0.28, 0.06, 0.26, 0.10),
        (-0.10, 0.12, 0.30, 0.09),
        (0.12, 0.06, 0.24, 0.09),
        (0.26, -0.12, 0.12, 0.09),
    ]
)
_LOOPS = 66
_CHOICES = 10


def stomach(rng: np.random.Generator, n_samples: int = 140) -> np.ndarray:
    """A J from below the left diaphragm to the pylorus, float (samples, 4)."""
    points = _moved(_STOMACH, rng, (0.05, 0.06, 0.03))
    points[:, :2] += np.array([0.04, -0.03]) + rng.normal(size=2) * (0.12, 0.17)
    lying = rng.uniform(0, 0.4)  # from a J that hangs to a band across the belly
    points[4:, 2] -= lying * np.array([0.4, 0.8, 1.0, 1.0])
    points[4:, 0] -= rng.uniform(0, 0.3) * np.array([0.3, 0.6, 1.0, 1.0])
    fullness = float(np.exp(0.42 * rng.normal()))
    points[:, 3] *= 0.95 * fullness * np.exp(0.10 * rng.normal(size=len(points)))
    points[:, 3] = np.minimum(points[:, 3], 0.42)
    return smooth_curve(points, n_samples)


def large_bowel(
    case_rng: np.random.Generator, rng: np.random.Generator, n_samples: int = 520
) -> np.ndarray:
    """A frame with haustra; the course depends on the patient, the filling on the day."""
    points = _moved(_LARGE, case_rng, (0.10, 0.10, 0.07))
    points[:, :2] += np.array([0.12, -0.12]) + case_rng.normal(size=2) * (0.11, 0.13)
    sag = 0.22 * case_rng.normal()  # how deep the transverse part hangs
    points[5:10, 2] += sag * np.array([0.3, 0.8, 1.0, 0.8, 0.3])
    points = _moved(points, rng, (0.02, 0.03, 0.02))
    points[:, :2] = _within(points[:, :2], 0.76)
    points[:, 3] *= 1.04 * np.exp(0.17 * rng.normal() + 0.20 * rng.normal(size=len(points)))
    points[:, 3] = np.minimum(points[:, 3], 0.25)
    path = smooth_curve(points, n_samples)
    waves = np.linspace(0, 2 * np.pi * 34, n_samples) + np.cumsum(0.15 * rng.normal(size=n_samples))
    path[:, 3] *= 1 + 0.20 * np.cos(waves)
    return path


def small_bowel(
    case_rng: np.random.Generator, rng: np.random.Generator, n_samples: int = 640
) -> np.ndarray:
    """The duodenum's arc, then loops that wander downwards inside the frame."""
    center = np.array([0.50, -0.40]) + case_rng.normal(size=2) * (0.12, 0.17)
    loops = np.empty((_LOOPS, 4))
    loops[:, :3] = _wandering(center, case_rng.uniform(0.95, 1.55), rng)
    loops[:, 3] = 0.106 * np.exp(0.12 * rng.normal() + 0.20 * rng.normal(size=_LOOPS))
    duodenum = _moved(_DUODENUM, case_rng, (0.04, 0.04, 0.03))
    return smooth_curve(np.concatenate([duodenum, loops]), n_samples)


def _wandering(center: np.ndarray, width: float, rng: np.random.Generator) -> np.ndarray:
    """Turning points of loops, float (loops, 3): a walk downwards that avoids earlier points."""
    spread = np.array([0.60 * width, 0.42])
    drift = np.linspace(0.08, 1, _LOOPS)
    points = np.empty((_LOOPS, 3))
    points[0] = (*(center + spread * (0.2, -0.1)), drift[0])
    for index in range(1, _LOOPS):
        turns = rng.uniform(0, 2 * np.pi, size=_CHOICES)
        steps = 0.42 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        options = np.empty((_CHOICES, 3))
        options[:, :2] = points[index - 1, :2] + steps
        options[:, 2] = np.clip(drift[index] + 0.12 * rng.normal(size=_CHOICES), 0.02, 1)
        apart = options[:, None] - points[None, :index]  # (choices, earlier points, 3)
        distance = np.sqrt((apart**2 * (1.0, 1.0, 9.0)).sum(axis=2)).min(axis=1)
        outside = np.linalg.norm((options[:, :2] - center) / spread, axis=1)
        points[index] = options[
            int(np.argmax(np.minimum(distance, 0.5) - 3 * (outside > 1) * outside))
        ]
    return points


def gas_along(rng: np.random.Generator, n_samples: int, share: float) -> np.ndarray:
    """Share of gas along a tube, float (samples,) 0 to 1: stretches of gas, mostly none."""
    knots = rng.uniform(0, 1, size=max(4, n_samples // 25))
    filled = np.clip((knots - (1 - share)) / max(share, 1e-6), 0, 1) ** 0.5
    return np.interp(np.linspace(0, 1, n_samples), np.linspace(0, 1, len(filled)), filled)


def _moved(
    points: np.ndarray, rng: np.random.Generator, sds: tuple[float, float, float]
) -> np.ndarray:
    """Points with random displacements along u, v and z."""
    moved = points.copy()
    moved[:, :3] += rng.normal(size=(len(points), 3)) * np.array(sds)
    return moved


def _within(places: np.ndarray, reach: float) -> np.ndarray:
    """Places (points, 2), moved inwards to at most a share of the way to the wall."""
    far = (np.abs(places) ** 2.4).sum(axis=1) ** (1 / 2.4)
    drawn_in: np.ndarray = places * np.minimum(1, reach / np.maximum(far, 1e-9))[:, None]
    return drawn_in
