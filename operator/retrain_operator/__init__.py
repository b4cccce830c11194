"""Scheduled and drift-driven retraining of machine-learning models on Kubernetes."""
