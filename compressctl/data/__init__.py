"""Samples for a model: one notation, one small file a source, streamed in batches."""
