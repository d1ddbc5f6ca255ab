-- Runs once, with an empty volume: MLflow's tables live beside ours, not among them.
CREATE DATABASE mlflow;
