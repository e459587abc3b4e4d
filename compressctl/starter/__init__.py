"""A recipe to start from: what a model and its data are, what suits them, and the text that says so."""
