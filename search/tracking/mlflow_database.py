"""MLflow's database in a runs folder, where no server is configured."""

from pathlib import Path


def database_path(runs_dir: Path) -> Path:
    """Return the path of the database in a runs folder."""
    return runs_dir.resolve() / "mlflow.db"


def default_uri(runs_dir: Path) -> str:
    """Return the tracking URI of the database in a runs folder."""
    return f"sqlite:///{database_path(runs_dir)}"


def create_database(path: Path) -> None:
    """Create a database with MLflow's tables, whole or not at all.

    MLflow cannot continue with a part of its tables. A process that is killed while it creates
    them leaves a draft under another name, which the next process replaces.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    draft = path.with_name(f"{path.name}.part")
    draft.unlink(missing_ok=True)
    artifacts = (path.parent / "mlartifacts").as_uri()
    store = SqlAlchemyStore(f"sqlite:///{draft}", artifacts)  # type: ignore[no-untyped-call]
    store.engine.dispose()
    draft.replace(path)
