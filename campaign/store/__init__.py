"""The results folder: what is recorded, and reading it back."""
