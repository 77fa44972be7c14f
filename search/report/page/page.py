"""The page of a study: its text, its table and, for plotly.js, its figures."""

import base64
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from search.config.study_config import StudyConfig
from search.pareto.selection import roles
from search.report.describe import describe, last_line
from search.report.equal_scores import equal_scores
from search.report.formatting import format_metric, format_score
from search.report.page.figures import (
    Figure,
    front_figures,
    history_figure,
    importance_figure,
    parallel_figure,
    solid_figure,
)
from search.report.panels import FrontPicture, tally
from search.report.parameter_importance import parameter_importances
from search.report.result import StudyResult
from search.report.summary import summary
from search.report.views.front_rows import FrontRow, front_rows
from search.trial_record import TrialRecord
from search.utils.secrets import without_secrets

HOVER_METRICS = (
    "score",
    "score_drop",
    "test_score",
    "size_bytes",
    "run_bytes",
    "latency_ratio",
    "latency_ms",
    "macs",
    "bops_ratio",
    "bits_per_weight",
    "tokens_per_second",
)
"""Metrics under the pointer where a trial has them; the objectives come first."""
MAX_NAMED = 6
"""Trials that are named for one reason of failing."""
HERE = Path(__file__).parent


def study_page(config: StudyConfig, result: StudyResult, picture: FrontPicture) -> str:
    """Return a page that needs no network and holds all that the study found.

    plotly.js is in it, compressed, which browsers since 2023 unpack. Without scripts the page has
    the text, the table and the failures.
    """
    chosen = roles(result.records, config.objectives, config.preferences.weights)
    importances = parameter_importances(result.records, config.objectives, config.space)
    fronts = front_figures(picture, chosen)
    solid = solid_figure(picture, chosen)
    figures = {f"front-{place}": figure for place, figure in enumerate(fronts)}
    if solid is not None:
        figures["solid"] = solid
    if result.history:
        figures["history"] = history_figure(result.history)
    bars = importance_figure(importances)
    if bars is not None:
        figures["importances"] = bars
    figures["parallel"] = parallel_figure(config, picture, importances)
    volume = max(result.history.values(), default=0.0)
    sections = [
        _section("Summary", _lines(summary(config, result, importances))),
        _section("Front", _plots(figures, "front-", "solid"), _HINT),
        _section("Members of the front, and rivals", _table(config, picture, result), _TABLE_HINT),
        _section(
            f"Hypervolume, {volume:.4f} in the end",
            _plots(figures, "history"),
            "How much the front gains over the baseline: 1 is the baseline's score at no cost."
            + ("" if volume else " It is 0 as long as no trial gains in every objective."),
        ),
        _section("Importance of parameters", _plots(figures, "importances") or _NO_IMPORTANCE),
        _section("Parallel coordinates", _plots(figures, "parallel"), _PARALLEL_HINT),
        _section("Trials without a result", _failures(result.records)),
    ]
    title = escape(f"Study {config.study}")
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{(HERE / 'page.css').read_text()}</style></head><body>",
            f"<header><h1>{title}</h1><p>{escape(tally(picture))}</p></header>",
            f"<main>{''.join(sections)}</main>",
            _data("figures", figures),
            _data("trials", {r.number: _hover(config, r) for r in picture.measured}),
            f'<script type="text/plain" id="plotly">{_plotly()}</script>',
            f"<script>{(HERE / 'page.js').read_text()}</script></body></html>\n",
        ]
    )


_HINT = (
    "Filled points are the front, with one standard error; the line is what was reached. Point at "
    "a trial to see it in every figure, and click to keep it; double-click shows all trials."
)
_TABLE_HINT = (
    "Scores with one standard error; the test set had no part in the choice. = marks scores equal "
    "to the best within two standard errors of the difference; latency is over the baseline's."
)
_PARALLEL_HINT = (
    "A line is a trial, of the front in blue. Drag along an axis to see only trials in that range; "
    "off is where a trial lacks the parameter."
)
_NO_IMPORTANCE = "<p>No parameter stands out beyond chance, or there are too few trials to say.</p>"


def _section(title: str, body: str, hint: str = "") -> str:
    if not body:
        return ""
    note = f'<p class="hint">{escape(hint)}</p>' if hint else ""
    return f"<section><h2>{escape(title)}</h2>{note}{body}</section>"


def _lines(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(without_secrets(line))}</li>" for line in lines)
    return f'<ul class="summary">{items}</ul>'


def _plots(figures: dict[str, Figure], *beginnings: str) -> str:
    names = [name for name in figures if name.startswith(beginnings)]
    plots = "".join(f'<div class="plot" id="{name}"></div>' for name in names)
    return f'<div class="plots">{plots}</div>' if names else ""


def _table(config: StudyConfig, picture: FrontPicture, result: StudyResult) -> str:
    equal = equal_scores(config, result.front)
    marked = equal.numbers if equal else frozenset()
    heads = ("trial", "", "validation", "test", "size", "smaller", "latency", "recipe", "export")
    head = "".join(f"<th>{name}</th>" for name in heads)
    rows = []
    for row in front_rows(config, result):
        cells = _cells(config, row, picture.baseline, equal=row.record.number in marked)
        line = "".join(
            f'<td data-label="{name}">{cell}</td>' for name, cell in zip(heads, cells, strict=True)
        )
        rows.append(f'<tr id="trial-{row.record.number}">{line}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cells(config: StudyConfig, row: FrontRow, baseline: TrialRecord, *, equal: bool) -> list[str]:
    metrics = row.record.metrics
    size = metrics["size_bytes"]
    command = f"paredown export study={config.study} select={row.record.number}"
    latency = metrics.get("latency_ratio")
    return [
        str(row.record.number),
        escape(", ".join(row.roles)),
        _with_error(row.record, "score"),
        _with_error(row.record, "test_score") + (" =" if equal else ""),
        format_metric("size_bytes", size),
        f"{baseline.metrics['run_bytes'] / size:.1f}x",
        "" if latency is None else f"{latency:.2f}x",
        escape(row.recipe),
        f"<code>{escape(command)}</code>",
    ]


def _with_error(record: TrialRecord, name: str) -> str:
    if name not in record.metrics:
        return ""
    error = record.metrics.get(f"{name}_standard_error")
    spread = "" if error is None else f" ± {format_score(error)}"
    return f"{format_score(record.metrics[name])}{spread}"


def _failures(records: Sequence[TrialRecord]) -> str:
    """Return how many trials ended without metrics for which reason; numbers do not divide it."""
    reasons: dict[tuple[str, str], list[int]] = defaultdict(list)
    for record in records:
        if record.status != "ok":
            reason = re.sub(r"\d+(\.\d+)?", "#", last_line(without_secrets(record.error)))
            reasons[record.status, reason].append(record.number)
    if not reasons:
        return "<p>Every trial was measured.</p>"
    rows = []
    for (status, reason), numbers in sorted(reasons.items(), key=lambda item: -len(item[1])):
        named = ", ".join(map(str, numbers[:MAX_NAMED]))
        named += ", ..." if len(numbers) > MAX_NAMED else ""
        width = round(60 * len(numbers) / max(map(len, reasons.values())), 1)
        rows.append(
            f'<tr><td data-label="trials">{len(numbers)} <span class="bar" '
            f'style="width:{width}px"></span></td><td data-label="status">'
            f'{escape(status)}</td><td data-label="reason">{escape(reason)}</td>'
            f'<td data-label="numbers">{named}</td></tr>'
        )
    head = "<th>trials</th><th>status</th><th>reason</th><th>numbers</th>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _hover(config: StudyConfig, record: TrialRecord) -> str:
    """Return the text under the pointer: verdict, recipe and metrics of a trial."""
    names = dict.fromkeys([*config.objectives, *HOVER_METRICS])
    metrics = [
        f"{name} {format_metric(name.removeprefix('test_'), record.metrics[name])}"
        for name in names
        if name in record.metrics
    ]
    steps = describe(record).split(" · ")
    recipe = [" · ".join(steps[place : place + 4]) for place in range(0, len(steps), 4)]
    head = f"<b>trial {record.number}</b> {record.verdict}"
    return "<br>".join([head, *(escape(line) for line in recipe), *metrics])


def _data(name: str, data: Any) -> str:
    """Return plain data as a script that holds it; `<` cannot end the script."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _plotly() -> str:
    source = files("plotly") / "package_data" / "plotly.min.js"
    return base64.b64encode(gzip.compress(source.read_bytes(), 6, mtime=0)).decode()
