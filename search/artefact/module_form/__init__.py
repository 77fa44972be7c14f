"""The module form: what makes a compressed `nn.Module` again, without training and without pickle.

A compressed model and the task's model come in; a safetensors file goes out that holds all tensors
and how the modules differ from the task's. The same file and the task's model make the module.
"""
