"""The compression methods: each takes a model and a task and returns a new, smaller model."""
