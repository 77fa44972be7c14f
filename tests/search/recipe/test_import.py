"""The space of recipes is known before torch is loaded."""

import subprocess
import sys

IMPORTS = "import sys, search.recipe.validation, search.recipe.parsing, search.recipe.step_values"


def test_the_room_imports_without_torch_optuna_mlflow_and_pandas() -> None:
    script = (
        f"{IMPORTS}, search.recipe.rungs\n"
        "assert not {'torch', 'optuna', 'mlflow', 'pandas', 'moocore'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
