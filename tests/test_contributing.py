"""The compressor that CONTRIBUTING.md shows keeps the laws, by the test that it shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from compressors.testing.laws import LAWS

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(
    r"```python\n# (\S+)\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.DOTALL
)


@pytest.mark.slow  # a test run of its own
def test_a_compressor_of_ones_own_is_held_to_the_laws(tmp_path: Path) -> None:
    for name, block in BLOCKS:
        (tmp_path / name).write_text(block)
    assert [name for name, _ in BLOCKS] == ["my_methods.py", "test_my_methods.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_my_methods.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{len(LAWS)} passed" in done.stdout, done.stdout + done.stderr
