"""What a machine lacks is told by the types and numbers of errors that machines really raise."""

import errno
import os
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from search.executors.resources import ALLOCATOR_TEXTS, lacking_status


def torch_refuses() -> None:
    torch.empty(10**15)


def accelerator_refuses() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def numpy_refuses() -> None:
    np.empty(10**15)


def no_fork() -> None:
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def written(path: str, count: int = 1) -> None:
    with open(path, "wb") as file:
        file.write(b"x" * count)


def full_device() -> None:
    written("/dev/full")


def database(pragma: str) -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("create table numbers (value text)")
        connection.execute(pragma)
        connection.execute("insert into numbers values (?)", ["x" * 100_000])


def full_database() -> None:
    database("pragma max_page_count = 3")


def read_only_database() -> None:
    database("pragma query_only = on")


def database_in_no_folder() -> None:
    sqlite3.connect("/no/such/folder/mlflow.db")


def too_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        written(os.devnull)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def wrapped() -> None:
    try:
        full_device()
    except OSError as reason:
        raise RuntimeError("the model cannot be written") from reason


def no_such_table() -> None:
    sqlite3.connect(":memory:").execute("select * from nothing")


def of_the_recipe() -> None:
    torch.ones(2, 3) @ torch.ones(2, 3)


def missing_file() -> None:
    Path("/no/such/file").read_bytes()


STATUSES: dict[Callable[[], None], str | None] = {
    torch_refuses: "oom",
    accelerator_refuses: "oom",
    numpy_refuses: "oom",
    no_fork: "oom",
    full_device: "environment",
    full_database: "environment",
    read_only_database: "environment",
    database_in_no_folder: "environment",
    too_many_files: "environment",
    wrapped: "environment",
    no_such_table: None,
    of_the_recipe: None,
    missing_file: None,
}


@pytest.mark.fault("too many open files")
@pytest.mark.parametrize("fault", STATUSES, ids=lambda fault: fault.__name__)
def test_only_what_is_outside_the_job_is_lacking(fault: Callable[[], None]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the kinds of errors are what is tested
        fault()
    assert lacking_status(caught.value) == STATUSES[fault]


@pytest.mark.parametrize("text", ALLOCATOR_TEXTS)
def test_torch_has_words_where_it_has_no_type(text: str) -> None:
    assert lacking_status(RuntimeError(f"prefix {text} more")) == "oom"
    assert lacking_status(ValueError(text)) is None
