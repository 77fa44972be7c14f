"""A runs folder with an empty MLflow database, made once and copied."""

import shutil

import pytest

from search.tracking.mlflow_client import connect
from search.tracking.mlflow_database import default_uri


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("template")
    connect(default_uri(path))
    return path / "mlflow.db"


@pytest.fixture
def runs_dir(database, tmp_path):
    shutil.copy(database, tmp_path / "mlflow.db")
    return tmp_path
