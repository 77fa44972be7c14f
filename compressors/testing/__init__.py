"""The laws of compressors, checked on small networks, for methods of this and any other package.

A compressor class and values at which it acts come in; `laws.check_compressor` returns nothing or
raises `BrokenLawError` with the law, the compressor and the network. Nothing here needs pytest.
"""

__all__ = ["data", "laws", "networks", "task"]
