"""The command line: one binary, noun verb."""
