"""Python SDK 2.x. Usage: python sdk2.py WHERE legacy|modern

WHERE is a URL or a JSON array that starts a server on stdio.
"""

import json
import sys
import warnings
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import mcp_types as types
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.subscriptions import ResourceUpdated, ToolsListChanged

from session import Waiting, elicited, plain, rooted, run, sampled

# Verbs of the handshake eras are deprecated in this SDK and wanted here.
warnings.simplefilter("ignore")


class Adapter:
    def __init__(self, where, modern, stack):
        self.modern, self.stack = modern, stack
        self.said = []
        self.tools_changed, self.resource_updated = None, None
        self.sdk = Client(
            server(where),
            mode="2026-07-28" if modern else "legacy",
            sampling_callback=self._sample,
            elicitation_callback=self._elicit,
            list_roots_callback=self._roots,
            logging_callback=self._log,
            message_handler=self._message,
        )

    async def connect(self):
        await self.stack.enter_async_context(self.sdk)
        return self.sdk.protocol_version

    async def close(self):
        await self.stack.aclose()

    async def tools(self):
        return await self._all(self.sdk.list_tools, "tools")

    async def prompts(self):
        return await self._all(self.sdk.list_prompts, "prompts")

    async def resources(self):
        return await self._all(self.sdk.list_resources, "resources")

    async def templates(self):
        return await self._all(self.sdk.list_resource_templates, "resourceTemplates")

    async def _all(self, verb, key):
        items, cursor = [], None
        while True:
            page = plain(await verb(cursor=cursor, cache_mode="bypass"))
            items += page[key]
            cursor = page.get("nextCursor")
            if cursor is None:
                return items

    async def call(self, name, arguments, progress=None, log=False, give_up=None):
        if log and not self.modern:
            await self.sdk.set_logging_level("info")
        meta = {types.LOG_LEVEL_META_KEY: "info"} if log and self.modern else None

        async def step(done, total, message):
            if progress:
                progress(done)

        outcome = None
        async with anyio.create_task_group() as group:

            async def work():
                nonlocal outcome
                result = await self.sdk.call_tool(name, arguments, progress_callback=step, meta=meta)
                outcome = plain(result)
                group.cancel_scope.cancel()

            group.start_soon(work)
            if give_up:
                await give_up.wait()
                group.cancel_scope.cancel()
        return outcome

    async def prompt(self, name, arguments):
        return plain(await self.sdk.get_prompt(name, arguments))

    async def read(self, uri):
        return plain(await self.sdk.read_resource(uri))

    async def complete(self, prompt, argument, value):
        reference = types.PromptReference(type="ref/prompt", name=prompt)
        result = await self.sdk.complete(reference, {"name": argument, "value": value})
        return result.completion.values

    @asynccontextmanager
    async def watching_tools(self):
        self.tools_changed = Waiting()
        if not self.modern:
            yield self.tools_changed
            return
        async with self.sdk.listen(tools_list_changed=True) as events:
            yield first(events, ToolsListChanged)

    @asynccontextmanager
    async def watching_resource(self, uri):
        self.resource_updated = Waiting()
        if self.modern:
            async with self.sdk.listen(resource_subscriptions=[uri]) as events:
                yield first(events, ResourceUpdated)
            return
        await self.sdk.subscribe_resource(uri)
        yield self.resource_updated
        await self.sdk.unsubscribe_resource(uri)

    async def _message(self, message):
        if isinstance(message, types.ToolListChangedNotification) and self.tools_changed:
            self.tools_changed.done()
        if isinstance(message, types.ResourceUpdatedNotification) and self.resource_updated:
            self.resource_updated.done(str(message.params.uri))

    async def _log(self, params):
        self.said.append(params.data)

    async def _elicit(self, context, params):
        return types.ElicitResult.model_validate(elicited())

    async def _sample(self, context, params):
        return types.CreateMessageResult.model_validate(sampled(plain(params)))

    async def _roots(self, context):
        return types.ListRootsResult.model_validate(rooted())


def server(where):
    if where.startswith("["):
        program, *arguments = json.loads(where)
        return StdioServerParameters(command=program, args=arguments)
    return where


async def first(events, kind):
    async for event in events:
        if isinstance(event, kind):
            return getattr(event, "uri", None)
    raise RuntimeError("the stream ended before the change")


async def main():
    async with AsyncExitStack() as stack:
        await run(Adapter(sys.argv[1], sys.argv[2] == "modern", stack))


anyio.run(main)
