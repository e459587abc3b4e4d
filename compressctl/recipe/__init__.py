"""The recipe: everything a run needs. One frozen model, the file that it is read from, and what is said against it."""
