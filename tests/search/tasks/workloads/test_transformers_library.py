import sys

import pytest

from search.errors import ConfigError
from search.tasks.workloads.transformers_library import transformers_library


def test_a_missing_library_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"task mine needs .*: pip install 'transformers>=5"):
        transformers_library("mine")
