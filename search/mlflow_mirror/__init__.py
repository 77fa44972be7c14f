"""MLflow, kept in step with a study: written once, found again, rebuilt at any time."""
