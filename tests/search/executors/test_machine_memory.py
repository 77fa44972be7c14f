"""Whether memory runs out is read from the machine and from the container around it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from search.executors.machine_memory import lacks_memory


def container(folder: Path, most: str, used: int, cached: int) -> Path:
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\nactive_file {cached // 2}\ninactive_file 1\n")
    return folder


@pytest.mark.parametrize(
    ("most", "used", "cached", "lacks"),
    [
        ("max", 10**9, 0, False),
        ("1000", 950, 0, False),
        ("1000", 970, 0, True),
        ("1000", 990, 200, False),
        ("1000", 1000, 0, True),
        ("no number", 1, 0, False),
    ],
)
def test_a_container_may_have_less(
    most: str, used: int, cached: int, lacks: bool, tmp_path: Path
) -> None:
    assert lacks_memory(container(tmp_path, most, used, cached)) is lacks


@pytest.mark.parametrize(("available", "lacks"), [(5, False), (3, True)])
def test_a_machine_lacks_memory_below_a_share(
    available: int, lacks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = SimpleNamespace(available=available, total=100)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    assert lacks_memory(tmp_path) is lacks
