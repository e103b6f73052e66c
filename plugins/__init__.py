"""Bridges into other people's tools: pytest, MLflow.

Not aware of sessions, or of how anything is computed: they call what a person would call. The tools themselves are
imported when they are used, and importing this room loads nothing.
"""

__all__: list[str] = []
