"""Features: what a detector sees of a machine.

`kinds` names them, `operating` learns regimes and how sensors answer to them, `state`, `window`,
`spectrum` and `kernel` hold the recurrences over time, `front` turns readings into features,
`learning` fits, `trust` and `whitening` allow for sensors that wander.
"""
