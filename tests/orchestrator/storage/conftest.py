"""The store that the tests of this folder use."""

from tests.support.s3_server import server

__all__ = ["server"]
