"""What the official client of MCP and FastMCP's make of a server: `python mcp_clients.py URL`, with both installed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import fastmcp
import mcp.client


async def official(url: str, mode: str) -> AsyncIterator[Any]:
    async with mcp.client.Client(url, mode=mode) as client:
        yield client.protocol_version
        yield [client.server_info.name, client.server_info.version]
        yield [tool.name for tool in (await client.list_tools()).tools]
        for name, arguments in CALLS:
            result = await client.call_tool(name, arguments)
            blocks = [getattr(block, "text", None) or block.mime_type for block in result.content]
            yield [blocks, result.structured_content, result.is_error]
        try:
            await client.call_tool("hidden", {})
        except Exception as error:
            yield str(error)


async def fast(url: str) -> AsyncIterator[Any]:
    async with fastmcp.Client(url) as client:
        yield [tool.name for tool in await client.list_tools()]
        yield (await client.call_tool("Math_add", {"a": 40})).structured_content
        yield (await client.call_tool("Shop_restock", {"part": {"name": "x"}})).data
        try:
            await client.call_tool("fail", {})
        except fastmcp.exceptions.ToolError as error:
            yield str(error)


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("Math_add", {"a": 1}),
    ("Math_add", {"a": "x"}),
    ("Shop_restock", {"part": {"name": "x", "parts": [{"name": "y"}]}}),
    ("crash", {}),
    ("draw", {}),
]


async def told(client: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in client]


async def main(url: str) -> None:
    said = {mode: await told(official(url, mode)) for mode in ("auto", "legacy")}
    print(json.dumps(said | {"fastmcp": await told(fast(url))}, default=vars))


asyncio.run(main(sys.argv[1]))
