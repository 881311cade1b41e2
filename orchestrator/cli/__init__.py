"""The command line, ``gitract-cv``. Heavy libraries are imported by the commands that need them."""

from orchestrator.cli.main import main

__all__ = ["main"]
