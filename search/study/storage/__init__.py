"""Where a study is kept: a journal file in its folder, or a PostgreSQL database.

A configuration comes in; a `Journal` that this process alone writes, or only reads, goes out.
"""

__all__ = ["opening"]
