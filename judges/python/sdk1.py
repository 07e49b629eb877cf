"""Python SDK 1.x. Usage: python sdk1.py WHERE

WHERE is a URL, one that ends in /sse for the transport of 2024-11-05, or a JSON array that starts a server on stdio.
"""

import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from mcp import ClientSession, types
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from session import Waiting, elicited, plain, rooted, run, sampled


class Adapter:
    def __init__(self, where, stack):
        self.where, self.stack = where, stack
        self.said = []
        self.tools_changed, self.resource_updated = None, None

    async def connect(self):
        # Entered by the same task that leaves them at the end of the program.
        reader, writer, *_ = await self.stack.enter_async_context(transport(self.where))
        self.sdk = await self.stack.enter_async_context(
            ClientSession(
                reader,
                writer,
                sampling_callback=self._sample,
                elicitation_callback=self._elicit,
                list_roots_callback=self._roots,
                logging_callback=self._log,
                message_handler=self._message,
            )
        )
        return (await self.sdk.initialize()).protocolVersion

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
            page = plain(await verb(params=types.PaginatedRequestParams(cursor=cursor)))
            items += page[key]
            cursor = page.get("nextCursor")
            if cursor is None:
                return items

    async def call(self, name, arguments, progress=None, log=False, give_up=None):
        if log:
            await self.sdk.set_logging_level("info")

        async def step(done, total, message):
            if progress:
                progress(done)

        outcome = None
        async with anyio.create_task_group() as group:

            async def work():
                nonlocal outcome
                outcome = plain(await self.sdk.call_tool(name, arguments, progress_callback=step))
                group.cancel_scope.cancel()

            # This SDK has no verb to cancel: it says so by hand, with the id that its next request will take.
            request = self.sdk._request_id
            group.start_soon(work)
            if give_up:
                await give_up.wait()
                params = types.CancelledNotificationParams(requestId=request, reason="no longer wanted")
                notification = types.CancelledNotification(params=params)
                await self.sdk.send_notification(types.ClientNotification(notification))
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
        yield self.tools_changed

    @asynccontextmanager
    async def watching_resource(self, uri):
        self.resource_updated = Waiting()
        await self.sdk.subscribe_resource(uri)
        yield self.resource_updated
        await self.sdk.unsubscribe_resource(uri)

    async def _message(self, message):
        inner = getattr(message, "root", None)
        if isinstance(inner, types.ToolListChangedNotification) and self.tools_changed:
            self.tools_changed.done()
        if isinstance(inner, types.ResourceUpdatedNotification) and self.resource_updated:
            self.resource_updated.done(str(inner.params.uri))

    async def _log(self, params):
        self.said.append(params.data)

    async def _elicit(self, context, params):
        return types.ElicitResult.model_validate(elicited())

    async def _sample(self, context, params):
        return types.CreateMessageResult.model_validate(sampled(plain(params)))

    async def _roots(self, context):
        return types.ListRootsResult.model_validate(rooted())


def transport(where):
    if where.startswith("["):
        program, *arguments = json.loads(where)
        return stdio_client(StdioServerParameters(command=program, args=arguments))
    return sse_client(where) if where.endswith("/sse") else streamable_http_client(where)


async def main():
    async with AsyncExitStack() as stack:
        await run(Adapter(sys.argv[1], stack))


anyio.run(main)
