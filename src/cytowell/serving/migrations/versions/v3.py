"""A signed end of the trail; whether a reviewer's name is that of a key; whose job it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"

COLUMNS: tuple[tuple[str, str, sa.String | sa.Integer, str], ...] = (
    ("trail_end", "database", sa.String(32), ""),
    ("trail_end", "sealed", sa.Integer(), "0"),
    ("trail_end", "signature", sa.String(128), ""),
    ("overrides", "verified", sa.Integer(), "0"),
    ("jobs", "owner", sa.String(64), ""),
)
"""Table, name, kind, and what is in the rows that are there."""


def upgrade() -> None:
    """Add the columns; the store signs what it finds in the same transaction."""
    for table, name, kind, first in COLUMNS:
        op.add_column(table, sa.Column(name, kind, nullable=False, server_default=first))


def downgrade() -> None:
    """Take the columns away."""
    for table, name, _, _ in COLUMNS:
        op.drop_column(table, name)
