"""The report: its schema and its renderers."""
