"""Metrics as short text."""


def format_score(value: float) -> str:
    """Return a score with four digits after the point, or fewer where it is large."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"


def format_metric(name: str, value: float) -> str:
    """Return a metric with its significant digits, bytes as kB (1,000 bytes)."""
    if name.endswith("_bytes"):
        return f"{value / 1000:.1f} kB"
    return format_score(value) if name.startswith("score") else f"{value:.3g}"
