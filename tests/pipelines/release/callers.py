"""How a test asks the gateway, as a caller does: an answer is counted for its release, anything else is a failure in words."""

from collections import Counter
from typing import Any

import aiohttp


async def ask(
    session: aiohttp.ClientSession, url: str, requests: list[dict[str, Any]], answers: Counter[str], failed: list[str]
) -> None:
    try:
        async with session.post(f"{url}/v1/predict", json={"requests": requests}) as answer:
            if answer.status == 200:
                answers[(await answer.json())["release"]] += 1
            else:
                failed.append(f"{answer.status} {await answer.text()}")
    except aiohttp.ClientError as error:
        failed.append(repr(error))
