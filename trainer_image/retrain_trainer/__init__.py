"""The default trainer of the retrain operator. It speaks the contract retrain/v1 and imports nothing of the operator."""

__version__ = "0.1.0"
