"""The MLflow UI on the studies of a runs folder, with links to each study."""

from pathlib import Path

from search.errors import ConfigError, TrackingError
from search.tracking.mlflow_database import database_path, default_uri
from search.tracking.mlflow_links import links_of_studies
from search.tracking.mlflow_server import Address, running_server


def serve(runs_dir: Path, host: str = "127.0.0.1", port: int = 5000) -> None:
    """Show the studies of a runs folder in the browser until Ctrl-C.

    Prints for each study, the newest first, links that open its table, front and charts.

    Raises:
        ConfigError: there is no database, or the port cannot be used.
        TrackingError: the server does not start.
    """
    if not database_path(runs_dir).is_file():
        raise ConfigError(
            f"{database_path(runs_dir)} does not exist: run `paredown search` with tracking=mlflow "
            "first, or name the folder with runs_dir="
        )
    address = Address(host=host, port=port)
    address.check_free()
    studies = links_of_studies(default_uri(runs_dir), address.url)
    try:
        with running_server(runs_dir, address) as server:
            for study, links in studies:
                print(f"study {study}")
                for what, link in links.items():
                    print(f"  {what:8} {link}")
            print(f"MLflow at {address.url}, Ctrl-C to stop", flush=True)
            server.communicate()
            raise TrackingError(f"the MLflow server ended with exit code {server.returncode}")
    except KeyboardInterrupt:
        print("MLflow stopped")
