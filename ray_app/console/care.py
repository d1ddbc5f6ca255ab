"""What people and models do beside the stream: maintenance, who is told, who scores in shadow."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from storage import maintenance, shadow, webhooks
from storage.connect import Connection
from storage.maintenance import MaintenanceRow
from storage.shadow import ShadowRow
from storage.webhooks import WebhookRow

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CarePage:
    """The page.

    Attributes:
        now: When it was true.
        windows: Maintenance, newest first.
        webhooks: Oldest first, without their secrets.
        challengers: Beside their champions, by class and newest first.
    """

    now: datetime
    windows: tuple[MaintenanceRow, ...]
    webhooks: tuple[WebhookRow, ...]
    challengers: Sequence[ShadowRow]


def read(on: Connection) -> CarePage:
    """Return the page's content."""
    return CarePage(
        now=datetime.now(UTC),
        windows=maintenance.listed(on, limit=_SHOWN),
        webhooks=webhooks.every(on),
        challengers=shadow.listed(on)[:_SHOWN],
    )
