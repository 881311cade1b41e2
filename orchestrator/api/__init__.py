"""The Python API; ``orchestrator`` re-exports it, and every command is a thin skin over it."""
