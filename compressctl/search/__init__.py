"""Searching for passes and their settings."""
