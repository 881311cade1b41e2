"""Search spaces: YAML files in, checked candidates out. See ``README.md`` for the grammar."""

from search_spaces.loader import SearchSpace, load_space, space_names

__all__ = ["SearchSpace", "load_space", "space_names"]
