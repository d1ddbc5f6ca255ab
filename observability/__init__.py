"""One catalogue of metrics, the log format, dashboards and alert rules as code."""
