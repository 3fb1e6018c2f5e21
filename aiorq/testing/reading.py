"""Reading jobs whose serializer nobody has named: pickle's bytes and JSON's cannot be mistaken for each other."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from aiorq.record import JobRecord
from aiorq.serializers import Serializer, resolve_serializer


def serializer_of(fields: Mapping[bytes, bytes], given: Serializer | None) -> Serializer:
    """The serializer of a job: the one that was given, else JSON where its call is in JSON, else pickle."""
    if given is not None:
        return given
    data = fields.get(b"data", b"")
    try:
        start = zlib.decompressobj().decompress(data, 1)
    except zlib.error:  # RQ reads what is not compressed too
        start = data[:1]
    return resolve_serializer("json" if start == b"[" else None)


def read_record(job_id: str, fields: Mapping[bytes, bytes], given: Serializer | None) -> JobRecord:
    """A job as its hash has it.

    Raises:
        CorruptJobError: it cannot be read.
    """
    record = JobRecord(job_id, serializer_of(fields, given), check=False)
    record.decode(dict(fields))
    return record
