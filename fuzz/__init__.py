"""Damaged files and odd flags for every command: nothing but exit codes 0, 2, 3 and 4, within time and memory."""
