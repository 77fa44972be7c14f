"""The configuration of a study: composed by Hydra or read from a stored study, then checked.

Overrides and YAML come in; a `StudyConfig` with every part in its type goes out, without torch.
"""

__all__ = [
    "compose",
    "constraints",
    "environment",
    "existing",
    "hydra_errors",
    "latency_settings",
    "metric_names",
    "overrides",
    "paths",
    "schema",
    "study_config",
]
