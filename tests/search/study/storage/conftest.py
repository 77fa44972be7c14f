import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.search.study.storage.postgres_server import PostgresServer, programs


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that runs."""
    pytest.importorskip("psycopg", reason="the optional driver of PostgreSQL")
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(stat.S_IRWXU | stat.S_IXGRP | stat.S_IXOTH)  # its user may pass
        built = PostgresServer(bin=found, folder=Path(folder) / "data")
        built.start()
        yield built
        built.stop()
