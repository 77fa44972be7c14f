"""One study from its configuration to its result.

`run` opens everything, `driver` is the loop that asks, dispatches and writes records into the
`journal`. Finished trials go out to the tables, pictures and the tracker through `outputs`.
"""

__all__ = ["builders", "journal_file", "repair", "run", "storage", "sync", "terminal"]
