"""Tools that know nothing of studies: files, caches, seeds, YAML, and the code and CPU that run.

Plain data, arrays and paths come in and go out; every room above may use every module.
"""

__all__ = [
    "annotation_check",
    "array_cache",
    "cpu",
    "failure_cause",
    "files",
    "heap",
    "instantiate",
    "interruption",
    "plain_data",
    "provenance",
    "secrets",
    "seeds",
    "storable_text",
    "trust",
    "user_key",
    "yaml_text",
]
