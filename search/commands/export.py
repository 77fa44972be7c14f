"""`paredown export`: one trial written for deployment."""

from collections.abc import Collection
from pathlib import Path

from search.deploy.export import export_trial
from search.deploy.formats import DEFAULT
from search.study.terminal import Display


def export(
    folder: Path,
    expression: str,
    output: str | None,
    trusted: Collection[str],
    formats: Collection[str] = DEFAULT,
) -> None:
    """Write the selected trial for deployment."""
    done = export_trial(folder, expression, Path(output) if output else None, trusted, formats)
    metrics, test = done.record.metrics, done.test
    tested = f"{test['score']:.4f} ± {test['score_standard_error']:.4f} on test, " if test else ""
    display = Display()
    if done.changed:
        display.say(f"what was kept of the trial is exported, not measured again: {done.changed}")
    display.say(
        f"trial {done.record.number}: score {metrics['score']:.4f} on validation, {tested}"
        f"{metrics['size_bytes']:.0f} bytes packed, latency {metrics['latency_ratio']:.2f}x"
    )
    display.say(f"verified by reloading; written to {done.folder}")
