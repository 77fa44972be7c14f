"""Mirrors of a study in a tracker: trial records come in; runs in MLflow and links to them go out.

Everything in a tracker can be rebuilt from the study's journal. MLflow is imported only when a
tracker is opened. The trackers are importable from here, where configurations name them.
"""

from search.tracking.mlflow_tracker import MlflowTracker
from search.tracking.none import NoTracker

__all__ = ["MlflowTracker", "NoTracker", "base", "ui"]
