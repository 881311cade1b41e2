"""Optional packages: a command checks for them before it starts any work."""

from __future__ import annotations

from importlib.util import find_spec

from gitract_core.errors import GitractError


def require(package: str, where: str, extra: str, error: type[GitractError] = GitractError) -> None:
    """Check that an optional package is installed, without loading it.

    Args:
        package: its name in an import.
        where: what asked for it, as an error names places.
        extra: the extra of ours that brings it.
        error: what to raise.

    Raises:
        GitractError: it is not there.
    """
    if find_spec(package) is None:
        raise error(where, f"the package {package}", "none", f"pip install 'gitract-cv[{extra}]'")
