"""Versions of the server's tables; Alembic runs them when the store is opened."""
