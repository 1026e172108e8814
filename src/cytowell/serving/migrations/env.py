"""Alembic's entry: upgrades the connection that the store hands over."""

from __future__ import annotations

from alembic import context

from cytowell.serving.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
