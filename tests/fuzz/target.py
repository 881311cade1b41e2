"""The process that libFuzzer runs; started by ``python -m tests.fuzz``."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(
    include=["gitract_core", "search_spaces", "yaml", "csv"], enable_loader_override=False
):
    from tests.fuzz.parsers import PARSERS


def main() -> None:
    parse = PARSERS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, parse)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
