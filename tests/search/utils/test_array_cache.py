import multiprocessing
import os
import signal
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from search.utils.array_cache import ArrayCache
from tests.disks import no_room, read_only


def ones(count: int = 1000) -> dict[str, np.ndarray]:
    return {"a": np.ones(count, dtype=np.float32)}


def never() -> dict[str, np.ndarray]:
    raise AssertionError("computed again")


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npz"))


def test_a_key_is_computed_once_and_read_back_as_it_was(tmp_path: Path) -> None:
    kept = {
        "file": np.arange(6, dtype=np.int8).reshape(2, 3),
        "layer.0.weight": np.array([np.nan, -0.0, np.inf], dtype=np.float64),
        "scalar": np.array(3),
        "none": np.empty((0, 4), dtype=np.float32),
        "text": np.array(["a", "bc"]),
    }
    first = ArrayCache(folder=tmp_path).get("key", lambda: kept)
    again = ArrayCache(folder=tmp_path).get("key", never)
    for found in (first, again):
        assert list(found) == list(kept)
        for name, array in kept.items():
            assert found[name].dtype == array.dtype
            assert found[name].shape == array.shape
            assert found[name].tobytes() == array.tobytes()


def test_other_keys_are_other_entries(tmp_path: Path) -> None:
    cache = ArrayCache(folder=tmp_path)
    assert cache.get("a", lambda: ones(1))["a"].shape == (1,)
    assert cache.get("b", lambda: ones(2))["a"].shape == (2,)
    cache.forget("a")
    assert cache.get("b", never)["a"].shape == (2,)
    assert cache.get("a", lambda: ones(3))["a"].shape == (3,)


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = ArrayCache(folder=tmp_path, limit_bytes=14_000)  # three entries of 4 kB
    for index, key in enumerate("abc"):
        cache.get(key, ones)
        newest = max(entries(tmp_path), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (index, index))
    cache.get("a", never)
    cache.get("d", ones)
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 14_000
    for key in "acd":
        cache.get(key, never)
    with pytest.raises(AssertionError, match="computed again"):
        cache.get("b", never)


def test_only_abandoned_files_of_killed_processes_are_deleted(tmp_path: Path) -> None:
    for name, age in (("old", 7200), ("new", 60)):
        (tmp_path / f"{name}.npz.1.part").write_bytes(b"x" * 9_000)
        os.utime(tmp_path / f"{name}.npz.1.part", (time.time() - age, time.time() - age))
    ArrayCache(folder=tmp_path, limit_bytes=14_000).get("key", ones)
    assert [path.name for path in tmp_path.glob("*.part")] == ["new.npz.1.part"]


def test_an_entry_too_large_is_returned_and_not_kept(tmp_path: Path) -> None:
    cache = ArrayCache(folder=tmp_path, limit_bytes=6_000)
    assert cache.get("key", ones)["a"].sum() == 1000
    assert not entries(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "emptied", "overwritten", "flipped"])
def test_a_damaged_entry_is_computed_again(damage: str, tmp_path: Path) -> None:
    cache = ArrayCache(folder=tmp_path)
    cache.get("key", ones)
    (path,) = entries(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {
        "cut": content[:-100], "emptied": b"", "overwritten": b"x" * 9_000, "flipped": content
    }  # fmt: skip
    path.write_bytes(damaged[damage])
    assert (cache.get("key", ones)["a"] == 1).all()
    assert (cache.get("key", never)["a"] == 1).all()


def test_no_python_object_is_kept_and_no_failure_is_remembered(tmp_path: Path) -> None:
    cache = ArrayCache(folder=tmp_path)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        cache.get("key", lambda: {"a": np.array([object()])})
    with pytest.raises(ZeroDivisionError):
        cache.get("key", lambda: {"a": np.array(1 // 0)})
    assert not entries(tmp_path)
    assert not list(tmp_path.glob("*.part"))
    cache.get("key", ones)


def one_of_many(folder: Path, results: object) -> None:
    def compute() -> dict[str, np.ndarray]:
        time.sleep(0.2)
        (folder / f"computed-{os.getpid()}").touch()
        return ones()

    results.put(float(ArrayCache(folder=folder / "cache").get("key", compute)["a"].sum()))


def test_processes_that_want_the_same_compute_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=one_of_many, args=(tmp_path, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=60) for _ in workers] == [1000.0] * 4
    for worker in workers:
        worker.join(timeout=60)
    assert len(list(tmp_path.glob("computed-*"))) == 1


def killed_while_computing(folder: Path) -> None:
    def compute() -> dict[str, np.ndarray]:
        os.kill(os.getpid(), signal.SIGKILL)
        return ones()

    ArrayCache(folder=folder).get("key", compute)


@pytest.mark.fault("a process dies while it fills the cache")
def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("fork").Process(
        target=killed_while_computing, args=(tmp_path,)
    )
    worker.start()
    worker.join(timeout=60)
    assert worker.exitcode == -signal.SIGKILL
    assert (ArrayCache(folder=tmp_path).get("key", ones)["a"] == 1).all()


@pytest.mark.fault("the cache is full", "the cache cannot be a folder")
@pytest.mark.parametrize("fault", ["a file in its place", "full"])
def test_a_folder_that_cannot_be_used_is_said_once_and_stops_nothing(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = ArrayCache(folder=tmp_path / "cache")
    if fault == "full":
        cache.folder.mkdir()
    else:
        cache.folder.touch()
    with no_room() if fault == "full" else nullcontext():
        for _ in range(3):
            assert cache.get("key", ones)["a"].sum() == 1000
            cache.keep("key", ones())
            cache.forget("key")
            assert cache.find("key") is None
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is not used" in said


@pytest.mark.fault("the cache is read-only")
def test_a_folder_that_is_only_read_gives_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = ArrayCache(folder=tmp_path)
    cache.get("known", ones)
    with read_only(tmp_path):
        for _ in range(2):
            assert cache.get("known", never)["a"].sum() == 1000
            assert cache.get("new", ones)["a"].sum() == 1000
    assert capsys.readouterr().err.count("is not used") == 1


@pytest.mark.fault("an entry of the cache is of another version")
def test_an_entry_of_another_version_is_computed_again(tmp_path: Path) -> None:
    cache = ArrayCache(folder=tmp_path)
    cache.get("key", lambda: {"a": np.zeros(3)})
    (path,) = entries(tmp_path)
    for other in ({"a": np.zeros(3)}, {"/names": np.array(["a", "b"]), "a": np.zeros(3)}):
        np.savez(path, **other)
        assert cache.find("key") is None
    assert (cache.get("key", ones)["a"] == 1).all()
    assert (cache.get("key", never)["a"] == 1).all()


def test_a_failure_of_what_computes_is_not_taken_for_one_of_the_folder(tmp_path: Path) -> None:
    def fails() -> dict[str, np.ndarray]:
        raise FileNotFoundError("the user's own file")

    with pytest.raises(FileNotFoundError, match="the user's own file"):
        ArrayCache(folder=tmp_path).get("key", fails)


@pytest.mark.fault("an entry of the cache is damaged")
def test_an_entry_damaged_anywhere_is_as_it_was_or_computed_again(tmp_path: Path) -> None:
    cache = ArrayCache(folder=tmp_path)
    kept = {"first": np.arange(40, dtype=np.int16).reshape(5, 8), "second": np.ones(3)}
    cache.keep("key", kept)
    (path,) = entries(tmp_path)
    whole = path.read_bytes()
    draw = np.random.default_rng(0)
    misses = 0
    for _ in range(1500):
        content = bytearray(whole)
        for place in draw.integers(len(content), size=draw.integers(1, 4)):
            content[place] = draw.integers(256)
        if draw.random() < 0.2:
            del content[draw.integers(len(content)) :]
        path.write_bytes(content)
        found = cache.find("key")
        misses += found is None
        if found is not None:
            assert list(found) == list(kept)
            assert all(found[name].tobytes() == kept[name].tobytes() for name in kept)
            assert all(found[name].dtype == kept[name].dtype for name in kept)
    assert misses > 1000
