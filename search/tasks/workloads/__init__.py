"""Tasks of real size: images, sentences, sounds and text from packages, each with its network.

The module and the function of a task have its name; `python -m search.tasks.workloads NAME` builds
it once. Readers compare digests of what they read; files stay outside the repository.
"""
