"""Mirrors of a study in a tracker: records come in, runs of MLflow and links to them go out."""

from search.tracking.base import Mirror, MlflowTracker, NoTracker, Tracker

__all__ = ["Mirror", "MlflowTracker", "NoTracker", "Tracker"]
