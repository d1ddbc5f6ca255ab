"""Mappings of foreign topics, kept so that messages in quarantine can be read again by them."""

from domain.errors import NotFoundError
from domain.machines import MachineClass
from domain.mapping import Mapping, parse
from storage import roster_store
from storage.connect import Connection, rows


def register(on: Connection, topic: str, mapping: Mapping) -> MachineClass:
    """Keep a topic's mapping in place of the one before, and see that its class is registered.

    A class that is there keeps its sensors, units and period; sensors it lacks are appended.

    Returns:
        The class as it is stored now.
    """
    rows(
        on,
        "INSERT INTO mappings (topic, text) VALUES (%s, %s) ON CONFLICT (topic) DO UPDATE "
        "SET text = excluded.text, changed_at = clock_timestamp() WHERE mappings.text <> %s",
        (topic, mapping.text, mapping.text),
    )
    given = mapping.machine_class
    stored = {one.name: one for one in roster_store.load_classes(on)}.get(given.name)
    if stored is None:
        return roster_store.register_class(on, given)
    added = tuple(one for one in given.sensors if one.name not in stored.position)
    if not added:
        return stored
    return roster_store.register_class(
        on,
        MachineClass(
            name=stored.name,
            sensors=stored.sensors + added,
            period_s=stored.period_s,
            description=stored.description,
        ),
    )


def of(on: Connection, topic: str) -> Mapping | None:
    """Return the mapping of a topic; None for a topic of readings as they are."""
    found = rows(on, "SELECT text FROM mappings WHERE topic = %s", (topic,))
    return parse(found[0][0], f"the mapping of {topic}") if found else None


def forget(on: Connection, topic: str) -> None:
    """Drop a topic's mapping.

    Raises:
        NotFoundError: It has none.
    """
    if not rows(on, "DELETE FROM mappings WHERE topic = %s RETURNING 1", (topic,)):
        raise NotFoundError("mapping of topic", topic)
