"""Learners without PyTorch, and the contract that every learner keeps."""
