"""What the platform knows: machines, readings, features, detectors. No client, no clock, no I/O."""
