"""What decodes JSON to a known shape: msgspec, or where it is missing the standard library.

It is missing only where a bundle predicts in someone's notebook: shapes are then not checked.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or find_spec("msgspec"):
    from msgspec import DecodeError, Meta, Raw, ValidationError
    from msgspec.json import decode
else:

    class Meta:
        """Limits of a value that nobody checks."""

        def __init__(self, **limits: Any) -> None:
            pass

    Raw = bytes

    class DecodeError(ValueError):
        """Content that is no JSON."""

    class ValidationError(DecodeError):
        """JSON of another shape."""

    def decode(content: bytes, *, type: Any) -> Any:
        """The value, which is an object whatever its shape."""
        value = json.loads(content)
        if not isinstance(value, dict):
            raise ValidationError(f"Expected `object`, got `{value.__class__.__name__}`")
        return value


__all__ = ["DecodeError", "Meta", "Raw", "ValidationError", "decode"]
