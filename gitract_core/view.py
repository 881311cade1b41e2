"""What a network sees of a slice: all of it, or a square of millimeters around its middle."""

from __future__ import annotations

from dataclasses import dataclass

from gitract_core.errors import DataError


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of a slice's pixels, which may reach beyond the slice.

    Attributes:
        top, left: its first row and column; negative beyond the slice.
        height, width: pixels of the slice.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The row after its last one."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The column after its last one."""
        return self.left + self.width

    def within(self, height: int, width: int) -> Window:
        """The part of it that lies on a slice.

        >>> Window(-2, 3, 9, 4).within(5, 6)
        Window(top=0, left=3, height=5, width=3)
        """
        top, left = max(self.top, 0), max(self.left, 0)
        return Window(top, left, min(self.bottom, height) - top, min(self.right, width) - left)


@dataclass(frozen=True, slots=True, order=True)
class View:
    """What a network sees of a slice.

    Attributes:
        size: side of the square input, pixels.
        spacing_mm: side of a pixel of it; 0: the whole slice, whatever its pixels measure.
    """

    size: int
    spacing_mm: float = 0.0

    @classmethod
    def of(cls, view: View | int) -> View:
        """A view; a bare number is the side of a whole slice."""
        return view if isinstance(view, View) else cls(view)

    @property
    def name(self) -> str:
        """For names of files.

        >>> View(128).name, View(128, 1.5).name
        ('128', '128x1.5mm')
        """
        return f"{self.size}x{self.spacing_mm!r}mm" if self.spacing_mm else f"{self.size}"

    def window(self, height: int, width: int, pixel_mm: tuple[float, float]) -> Window | None:
        """The pixels of a slice that are seen, in whole pixels; None: all of them.

        Its middle is the slice's, or half a pixel above or left of it.

        Args:
            height: of the slice, pixels.
            width: of the slice, pixels.
            pixel_mm: height and width of its pixels.

        Raises:
            DataError: pixels without a size.

        >>> View(16, 2.0).window(40, 21, (1.0, 2.0))
        Window(top=4, left=2, height=32, width=16)
        """
        if not self.spacing_mm:
            return None
        if not min(pixel_mm) > 0:
            expected, got = "pixel sizes above 0 mm", f"{pixel_mm[0]:g} x {pixel_mm[1]:g}"
            raise DataError("a scan's pixels", expected, got, "use input.spacing_mm 0")
        high, wide = (max(1, round(self.size * self.spacing_mm / mm)) for mm in pixel_mm)
        return Window((height - high) // 2, (width - wide) // 2, high, wide)
