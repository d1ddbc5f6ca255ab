"""Features: what a detector sees of a machine.

`kinds` names them, `operating` learns regimes and how sensors answer to them, `kernel` holds the
recurrences over time, `front` puts them together.
"""
