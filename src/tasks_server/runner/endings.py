"""How a run ended, in words that the engine can take, whatever the handler gave or raised. Nothing here raises."""

from types import TracebackType
from typing import Any, Final

from tasks_server import traces
from tasks_server.domain import limits, texts
from tasks_server.handlers.context import Permanent, Retry
from tasks_server.handlers.frames import Call, Ended
from tasks_server.handlers.payloads import Unfit
from tasks_server.handlers.results import NotKept, result_json

_FILE_LENGTH_MAX: Final = 200
_NAME_LENGTH_MAX: Final = 50
_NO_WAIT: Final = " (its after_seconds is no number of seconds, so that the wait is the one that is due)"
_UNKNOWN: Final = "the handler ended, but the server cannot tell how; its log has more"


def succeeded(call: Call, value: Any, result_bytes_max: int) -> Ended:
    """The end of a run that gave `value`. A result that cannot be kept is no failure: the error says why."""
    if not call.keep_result:
        return Ended(call.token, "success", 200)
    try:
        return Ended(call.token, "success", 200, None, result_json(value, result_bytes_max))
    except NotKept as error:
        return Ended(call.token, "success", 200, texts.said(error, limits.ERROR_LENGTH_MAX))


def failed(call: Call, error: BaseException) -> Ended:
    """The end of a run that raised `error`."""
    ended = Ended(call.token, "failure", 500)
    if is_a(error, Unfit):
        ended.status_code, ended.no_retry = 422, True
        ended.error = _message(error)
    elif is_a(error, Permanent):
        ended.error, ended.no_retry = _message(error) or "the handler failed for good", True
    elif is_a(error, Retry):
        ended.error = _message(error) or "the handler asked for another attempt"
        try:
            ended.wait_ms = _wait_ms(error)
        except BaseException:
            ended.error = _message(error, len(_NO_WAIT)) + _NO_WAIT
    else:
        ended.error = _described(error)
    return ended


def cancelled(call: Call) -> Ended:
    """The end of a run that stopped when it was told to."""
    return Ended(call.token, "cancelled", 0)


def unknown(call: Call) -> Ended:
    """The end of a run that nothing better can be said of."""
    return Ended(call.token, "failure", 500, _UNKNOWN)


def steers(error: BaseException) -> bool:
    """Whether it was raised to say what is to come, or that the payload does not fit: where it was tells nothing."""
    return is_a(error, Unfit) or is_a(error, Permanent) or is_a(error, Retry)


def is_a(error: BaseException, kind: type[BaseException]) -> bool:
    """`isinstance`, but by what the exception is and not by what it says it is."""
    return issubclass(type(error), kind)


def _message(error: BaseException, less: int = 0) -> str:
    return texts.said(error, limits.ERROR_LENGTH_MAX - less)


def _wait_ms(error: Any) -> int | None:
    """The wait that a `Retry` asks for, ten years at most. Raises anything when it asks for none that can be."""
    after = error.after_seconds
    if after is None:
        return None
    if not after >= 0:
        raise ValueError(after)
    return limits.TEN_YEARS_MS if after * 1_000 >= limits.TEN_YEARS_MS else round(float(after) * 1_000)


def _described(error: BaseException) -> str:
    """Type, message, and where it came up."""
    trace: TracebackType | None = traces.trace_of(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return texts.described(error, limits.ERROR_LENGTH_MAX)
    code = trace.tb_frame.f_code
    file = texts.fitting(code.co_filename[-_FILE_LENGTH_MAX:], _FILE_LENGTH_MAX)  # the end of it tells the most
    place = f" ({file}:{trace.tb_lineno} in {texts.fitting(code.co_name, _NAME_LENGTH_MAX)})"
    return texts.described(error, limits.ERROR_LENGTH_MAX - len(place)) + place
