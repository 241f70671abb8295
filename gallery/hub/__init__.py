"""Repositories of Hugging Face: what is in one, what of it makes a model, and the configuration of that."""
