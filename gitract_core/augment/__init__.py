"""Random changes of training slices; images and masks are bent alike.

What happens is drawn apart from making it happen: ``draw`` takes random numbers from a generator
and gives ``AugmentationParameters``; ``apply`` takes those and a batch, on whatever device the
batch is, and uses no other source of chance. So an augmentation can be replayed, tested and shown,
and a trial that goes on from a checkpoint needs the generator's state alone.

Axes: images (batch, channels, height, width) in 0..1, masks (batch, classes, height, width) of 0
and 1. Lengths are fractions of the image's side. One kind a file, applied in this order: `flip`,
`warp` (elastic distortion and affine map, resampled once), `intensity`, `blur`, `noise`. The last
three leave masks alone. Each kind touches only the slices it was drawn for (its ``rows``); all
others pass through bit for bit.

Images are cheapest with one channel: repeat a gray slice afterwards, or with ``expand``, which
``apply`` sees through.
"""

from gitract_core.augment.parameters import AugmentationParameters, apply, draw

__all__ = ["AugmentationParameters", "apply", "draw"]
