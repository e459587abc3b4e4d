"""The documentation, partly generated."""
