"""What a library already knows of a user's model and data, read as parts of a task.

The parts that the user's function gives come in, those that its Lightning module, its transformers
model or its rows imply are added. Nothing here imports these libraries.
"""

__all__ = ["parts"]
