"""What a study finds out before its first trial.

A user's task comes in; the baseline's metrics, what each step can do to the model and how far it
moves the outputs, and what the parts of a trial cost go out.
"""
