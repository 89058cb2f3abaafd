"""What is shown of a request holds no secret, whatever field it stands in, and what is shown is no way to lose one."""

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_server.domain import masking, shapes
from tasks_server.domain.json_text import text_of
from tasks_server.domain.request import FormPart, HttpRequest, TaskConfig, TaskSpec

SECRET = "s3cr3t-" + "v" * 9
NAMES = ["Authorization", "X-Auth-Key", "cookie", "my_password", "X-Api-Key", "access_token", "Client-Secret"]


def filled(wanted: Any) -> Any:
    """A value of this type with the secret in every text."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return filled(arguments[0])
    if origin in (Union, types.UnionType):
        return filled(next(member for member in arguments if member is not type(None)))
    if origin is Literal:
        return arguments[0]
    if origin is list:
        return [filled(arguments[0])]
    if origin is dict:
        return {"name": filled(arguments[1])}
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return wanted(**{name: filled(kind) for name, kind in get_type_hints(wanted, include_extras=True).items()})
    return SECRET if wanted is str else 1


def marked() -> list[tuple[type[msgspec.Struct], str, Any]]:
    """Every field of a request and its configuration that is marked as secret."""
    return [
        (kind, field.name, member)
        for kind in (HttpRequest, TaskConfig)
        for field in msgspec.structs.fields(kind)
        if shapes.is_marked_secret(field.type)
        for member in members(field.type)
    ]


def members(wanted: Any) -> list[Any]:
    """The forms that a field may have."""
    inner = get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted
    if get_origin(inner) in (Union, types.UnionType):
        return [member for member in get_args(inner) if member is not type(None)]
    return [inner]


def secrets_of(value: object, secret: bool = True) -> list[str]:
    """The texts in a value that must not be shown: all, but for parts that their own type does not mark."""
    if isinstance(value, msgspec.Struct):
        return [
            text
            for field in msgspec.structs.fields(value)
            for text in secrets_of(getattr(value, field.name), shapes.is_marked_secret(field.type))
        ]
    if isinstance(value, dict | list):
        return [
            text for item in (value.values() if isinstance(value, dict) else value) for text in secrets_of(item, secret)
        ]
    return [value] if secret and isinstance(value, str) else []


@pytest.mark.parametrize(("kind", "name", "form"), marked())
def test_no_marked_field_is_shown(kind: type[msgspec.Struct], name: str, form: Any) -> None:
    value = filled(form)
    assert SECRET in secrets_of(value)
    request, config = HttpRequest("http://a.example/", "POST"), TaskConfig()
    setattr(request if kind is HttpRequest else config, name, value)
    field = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}[name]
    shown = masking.shown_request(request) | masking.shown_config(TaskSpec(request, config))
    assert shapes.MASK in str(shown[field])
    assert len(secrets_in(shown[field])) == len(secrets_of(value, True)) == str(shown[field]).count(shapes.MASK)
    part = "httpRequest" if kind is HttpRequest else "config"
    faults = masking.mask_faults({part: {field: shown[field]}})
    assert [fault for fault in faults if fault.field.startswith(f"{part}.{field}")]


def secrets_in(shown: object) -> list[object]:
    """The masks in what is shown."""
    if isinstance(shown, dict | list):
        return [one for item in (shown.values() if isinstance(shown, dict) else shown) for one in secrets_in(item)]
    return [shown] if shown == shapes.MASK else []


json_secrets = st.recursive(
    st.just(SECRET), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)


@given(st.data())
def test_nothing_under_the_name_of_a_secret_is_shown(data: st.DataObject) -> None:
    name = st.sampled_from(NAMES).flatmap(lambda name: st.sampled_from([name, name.upper(), f"x-{name}"]))
    under = data.draw(name)
    request = HttpRequest(
        f"https://a.example/?page=2&{under}={SECRET}&b=1",
        "POST",
        headers={under: SECRET, "Accept": "*/*"},
        query={under: SECRET, "page": "2"},
        **data.draw(
            st.one_of(
                json_secrets.map(lambda value: {"json": msgspec.json.encode({"deep": [{under: value}]})}),
                st.just({"data": [FormPart(under, SECRET), FormPart("page", "2")]}),
            )
        ),
    )
    shown = masking.shown_request(request)
    assert SECRET not in msgspec.json.encode(shown).decode()
    assert (shown["headers"]["Accept"], shown["query"]["page"]) == ("*/*", "2")
    assert shown["url"] == f"https://a.example/?page=2&{under}=***&b=1"
    assert masking.shown_entries({under: SECRET, "a": "b"}) == {under: "***", "a": "b"}
    assert request.headers == {under: SECRET, "Accept": "*/*"}
    sent_back = {"httpRequest": {"headers": shown["headers"], "query": shown["query"], "url": shown["url"]}}
    fields = [fault.field for fault in masking.mask_faults(sent_back | {"metadata": {under: "***"}})]
    expected = ["httpRequest.headers." + under, "httpRequest.query." + under, "httpRequest.url", "metadata." + under]
    assert fields == expected


def test_a_patch_that_masks_nothing_has_no_fault() -> None:
    data = text_of({"value": "***", "name": "token"})
    patch = {"httpRequest": {"headers": {"Accept": "***"}, "data": data, "url": "https://a.example/"}}
    assert masking.mask_faults(patch) == []
    for odd in (None, [], "***", {"httpRequest": "***"}, {"config": None}):
        assert masking.mask_faults(odd) == []


def test_a_form_sent_back_is_refused() -> None:
    parts = text_of([{"name": "token", "value": "***"}, {"name": "a", "value": "***"}])
    (fault,) = masking.mask_faults({"httpRequest": {"data": parts}})
    assert fault.field == "httpRequest.data.0.value"


@pytest.mark.parametrize(("kind", "name", "form"), marked())
def test_faults_repeat_no_marked_value(kind: type[msgspec.Struct], name: str, form: Any) -> None:
    """However wrong a value is, what is said of it does not repeat it."""
    field = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}[name]
    wrong: list[Any] = [
        SECRET * 400,
        12_345_678_901,
        [SECRET],
        {"x": SECRET},
        {"username": SECRET, "password": [SECRET]},
    ]
    built = msgspec.to_builtins(filled(form))
    if isinstance(built, dict):
        wrong += [built | {key: SECRET * 400} for key in built]
    for value in wrong:
        for fault in shapes.struct_faults(kind, {field: value}, "p"):
            if fault.field.startswith(f"p.{field}"):
                told = msgspec.json.encode(fault).decode()
                assert SECRET not in told
                assert "12345678901" not in told
