"""The files that one would ship.

A compressed model in memory comes in. Out go `model.onnx` (the run form), `model.packed` (the ship
form), `model.safetensors` (the module form, from which the module is built again) and what was
found on reading them back: bytes, fidelity and the layers that run in integers.
"""

__all__ = ["artefact", "model_files", "module_form", "onnx_form", "packed_form", "program_form"]
