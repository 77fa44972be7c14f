"""The last line of every benchmark."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def print_json_line(found: Mapping[str, Any], out: Path | None) -> None:
    """Print what was found as one line of JSON, and write it to a file too if one is given."""
    line = json.dumps(found)
    if out is not None:
        out.write_text(line + "\n")
    print(line)
