"""A notification for a way that carries less than SQS: what does not fit is left out, and said to be."""

from archiver.archive.document import items, members


def within(body: str, limit: int) -> str:
    """The notification ``body`` in at most ``limit`` bytes of UTF-8.

    First ``missing`` is cut, with ``missing_total`` beside it; where that is not enough, ``metadata`` is null and
    ``metadata_omitted`` true. Beyond that nothing can be spared: the body may then still be larger.
    """
    if _size(body) <= limit:
        return body
    found = members(body)
    names = items(found["missing"]) if "missing" in found else []
    total = found.get("missing_total", str(len(names)))
    if names:
        found |= {"missing": "[]", "missing_total": total}
    if _size(_object(found)) > limit:
        found |= {"metadata": "null", "metadata_omitted": "true"}
    told: list[str] = []
    room = limit - _size(_object(found))
    for name in names:
        room -= _size(name) + 1
        if room < 0:
            break
        told.append(name)
    if names:
        found["missing"] = f"[{','.join(told)}]"
    if len(told) == int(total):
        found.pop("missing_total", None)
    return _object(found)


def _object(texts: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{text}' for name, text in texts.items()) + "}"


def _size(text: str) -> int:
    return len(text.encode())
