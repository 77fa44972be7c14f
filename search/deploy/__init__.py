"""Models that leave a study: a selected trial or a recipe comes in; a folder to deploy goes out.

The folder has the model files, the recipe that makes them again, the evidence and a model card.
"""

__all__ = ["apply", "export", "formats", "selected_trial", "verified"]
