"""From a torch model to an ONNX graph, by whichever of torch's exporters gives a right one.

A model and a call with named inputs and outputs come in; a graph with the weights under their own
names, or one sentence that says why there is none, goes out.
"""
