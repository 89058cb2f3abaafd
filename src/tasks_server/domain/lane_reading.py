"""From what was sent of a lane to settings that obey every rule, or to all the faults of it at once."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tasks_server.domain import limits, reading, shapes, words
from tasks_server.domain.callback import Asked
from tasks_server.domain.egress import Egress
from tasks_server.domain.errors import Fault, InvalidRequest
from tasks_server.domain.lane import Lane
from tasks_server.domain.masking import callback_mask_faults
from tasks_server.domain.request import Key
from tasks_server.domain.rules_callbacks import asked_callbacks, callbacks_of
from tasks_server.domain.rules_pairs import make_room_of_callbacks

MaxConcurrent = Annotated[int, Meta(ge=1, le=limits.LANE_CONCURRENT_MAX)]
RatePerSecond = Annotated[float, Meta(ge=limits.LANE_RATE_MIN, le=limits.LANE_RATE_MAX)]
Burst = Annotated[int, Meta(ge=1, le=limits.LANE_BURST_MAX)]


class LaneBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The settings of a lane. null: no such limit; of `burst`: what `ratePerSecond` brings in a tenth of a second."""

    max_concurrent: MaxConcurrent | None = None
    rate_per_second: RatePerSecond | None = None
    burst: Burst | None = None
    paused: bool = False
    failure_callback: Asked = None
    success_callback: Asked = None


def read_lane(name: str, raw: object, egress: Egress) -> LaneBody:
    """The settings of any JSON value for a lane of this name. Raises `InvalidRequest` with every fault."""
    faults = [msgspec.structs.replace(fault, given=name[:64]) for fault in shapes.faults_of(Key, name, "name")]
    if not isinstance(raw, dict):
        raise InvalidRequest([*faults, Fault("body", "must be a JSON object", shapes.shown(raw), "an object")])
    canonical = {key: value if key == "ratePerSecond" else reading.whole(value) for key, value in raw.items()}
    canonical = words.spelled(LaneBody, canonical)
    found = list(shapes.struct_faults(LaneBody, canonical, ""))
    faults += found
    spoiled = any(fault.field in ("burst", "ratePerSecond") for fault in found)
    if canonical.get("burst") is not None and canonical.get("ratePerSecond") is None and not spoiled:
        text = "needs a ratePerSecond: it is how many may start at once, after which the rate counts"
        faults.append(Fault("burst", text, shapes.shown(raw["burst"])))
    faults += callback_mask_faults(canonical)
    if not faults:
        body = msgspec.convert(canonical, LaneBody)
        told = callbacks_of(body.failure_callback, body.success_callback, egress, faults)
        body.failure_callback, body.success_callback = told.failure, told.success
    if faults:
        raise InvalidRequest(faults)
    return body


def merged(lane: Lane, patch: object) -> dict[str, Any]:
    """A lane's settings under a JSON merge patch (RFC 7396), for `read_lane`. A burst goes with its rate."""
    before = lane.facts.limits
    if not isinstance(patch, dict):
        raise InvalidRequest([Fault("body", "must be a JSON object", shapes.shown(patch), "an object")])
    stands = {
        "maxConcurrent": before.concurrent_max,
        "ratePerSecond": before.rate,
        "burst": before.burst,
        "paused": before.paused_at is not None,
        **asked_callbacks(lane.callbacks),
    }
    make_room_of_callbacks(stands, patch)
    if "ratePerSecond" in patch and patch["ratePerSecond"] is None and "burst" not in patch:
        stands["burst"] = None
    whole: dict[str, Any] = reading.merge({name: value for name, value in stands.items() if value is not None}, patch)
    return whole
