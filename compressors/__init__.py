"""The compression methods: each takes a model and a task and returns a new, smaller model.

Each method is one module at the root of this package, beside the contract (`base`, `kinds`,
`errors`). The parts of the methods are in sub-packages, which import downwards only: methods ->
channels, layers, training -> budget -> models -> weights -> base -> outputs -> kinds, errors.
Channels, layers and training do not import each other.
"""
