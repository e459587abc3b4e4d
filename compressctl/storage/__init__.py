"""Forms in which constants are stored small: nodes that read only constants, which onnxruntime folds at load."""
