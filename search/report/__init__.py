"""What finished trials show: finished trials come in; tables, pictures and a summary go out.

The room only reads trial records and the configuration. It starts nothing and changes no study.
"""

__all__ = [
    "describe",
    "equal_scores",
    "pictures",
    "result",
    "standing",
    "summary",
    "tables",
    "views",
]
