"""What each command does once its configuration is checked: a module for each, imported alone.

A checked configuration or the folder of a study comes in; lines on the terminal and files go out.
"""

__all__ = ["compare", "export", "front", "repair", "report", "search", "sync", "verify"]
