"""Where jobs run: a job is a function's name and plain data, an outcome is what came of it.

The driver submits jobs to an executor; the executor runs each in an isolated process and returns
its outcome. A new engine is a class like `local.LocalExecutor` and a YAML in `conf/executor/`.
"""

__all__ = ["base", "outcome", "worker"]
