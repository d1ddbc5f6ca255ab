"""What a prediction over HTTP costs, against the ways people take otherwise."""
