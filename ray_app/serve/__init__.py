"""What answers over HTTP: prediction, API and console, as three applications of Ray Serve."""
