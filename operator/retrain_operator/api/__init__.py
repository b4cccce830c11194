"""The API: pydantic models of both kinds, the trainer contract, and the names that they use."""
