"""`paredown export`: one trial written for deployment."""

from collections.abc import Collection
from pathlib import Path

from search.deploy.export import export_trial
from search.study.terminal import Display


def export(folder: Path, expression: str, output: str | None, trusted: Collection[str]) -> None:
    """Write the selected trial for deployment."""
    done = export_trial(folder, expression, Path(output) if output else None, trusted)
    metrics = done.record.metrics
    display = Display()
    display.say(
        f"trial {done.record.number}: score {metrics['score']:.4f} on validation, "
        f"{done.test['score']:.4f} ± {done.test['score_standard_error']:.4f} on test, "
        f"{metrics['size_bytes']:.0f} bytes packed, latency {metrics['latency_ratio']:.2f}x"
    )
    display.say(f"verified by reloading; written to {done.folder}")
