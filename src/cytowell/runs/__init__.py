"""The whole way in one folder: check, split, learn, export, evaluate, report."""
