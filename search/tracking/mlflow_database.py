"""MLflow's database in a runs folder, where no server is configured."""

from pathlib import Path

from search.utils.files import replaced_when_written


def database_path(runs_dir: Path) -> Path:
    """Return the path of the database in a runs folder."""
    return runs_dir.resolve() / "mlflow.db"


def default_uri(runs_dir: Path) -> str:
    """Return the tracking URI of the database in a runs folder."""
    return f"sqlite:///{database_path(runs_dir)}"


def artifacts_of(uri: str) -> str | None:
    """Return the address of the files of a SQLite database, which lie beside it; None for others.

    MLflow's own default is the folder that a command is run in.
    """
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).resolve().parent / "mlartifacts").as_uri()


def create_database(path: Path) -> None:
    """Create a database with MLflow's tables, whole or not at all.

    MLflow cannot continue with a part of its tables. What a killed process left of them, which
    had the caller's lock, is deleted.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for left in path.parent.glob(f"{path.name}.*.part*"):
        left.unlink()
    with replaced_when_written(path) as part:
        uri = f"sqlite:///{part}"
        store = SqlAlchemyStore(uri, artifacts_of(uri))  # type: ignore[no-untyped-call]
        store.engine.dispose()
