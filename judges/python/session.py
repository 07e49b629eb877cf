"""The scripted session: every step once, one JSON line per step on standard output.

A client of some SDK is given as an adapter whose methods return plain JSON values:
  connect() -> description        close()
  tools() prompts() resources() templates() -> whole lists
  call(name, arguments, progress=None, log=False, give_up=None) -> result; gives up when the event is set
  prompt(name, arguments)   read(uri)   complete(prompt, argument, value) -> values
  watching_tools() watching_resource(uri): context managers that yield an awaitable for the first change
  said: lines that the server logged so far
"""

import json
import os
import sys
from contextlib import nullcontext

import anyio

WAIT_SECONDS_MAX = 10
SLOW = {"steps": 100, "step_ms": 100}


def elicited():
    return {"action": "accept", "content": {"response": "yes", "name": "Judge"}}


def sampled(params):
    content = params["messages"][-1]["content"]
    text = (content[0] if isinstance(content, list) else content)["text"]
    return {"role": "assistant", "model": "judge", "content": {"type": "text", "text": f"sampled {text}"}}


def rooted():
    return {"roots": [{"uri": "file:///judge", "name": "judge"}]}


async def run(client):
    # Connecting opens scopes that stay open, so it may not run inside the limit of a step; the harness has its own.
    if not await step("connect", client.connect, None):
        return
    wanted = os.environ.get("JUDGE_STEPS", ",".join(STEPS)).split(",")
    for name, body in STEPS.items():
        if name not in wanted:
            continue
        await step(name, lambda body=body: body(client))
    await client.close()


async def step(name, body, seconds_max=WAIT_SECONDS_MAX):
    try:
        with anyio.fail_after(seconds_max) if seconds_max else nullcontext():
            detail = await body()
        show({"step": name, "ok": True, "detail": str(detail or "")})
        return True
    except TimeoutError:
        show({"step": name, "ok": False, "detail": f"took more than {WAIT_SECONDS_MAX} s"})
    except Exception as error:
        show({"step": name, "ok": False, "detail": f"{type(error).__name__}: {error}"[:300]})
    return False


async def list_tools(client):
    names = [tool["name"] for tool in await client.tools()]
    expect("echo" in names, f"echo is not among {len(names)} tools")
    expect(len(set(names)) == len(names), "a name comes twice")
    second = second_tool()
    expect(not second or second["tool"] in names, "the tool of the second server is missing")
    return f"{len(names)} tools"


async def call(client):
    said = text(await client.call("echo", {"text": "héllo"}))
    expect("héllo" in said, f"echo said {said}")
    second = second_tool()
    if not second:
        return "one server"
    result = await client.call(second["tool"], second["arguments"])
    expect(not result.get("isError"), f"{second['tool']} said {text(result)}")
    return "both servers"


async def stream(client):
    before = len(client.said)
    await client.call("test_tool_with_logging", {}, log=True)
    lines = len(client.said) - before
    expect(lines == 3, f"{lines} of 3 lines came before the result")
    return "3 lines before the result"


async def progress(client):
    seen = []
    await client.call("test_tool_with_progress", {}, progress=lambda done: seen.append(int(done)))
    expect(seen == [0, 50, 100], f"progress was {seen}")
    return "0, 50, 100"


async def cancel(client):
    before = await report(client)
    give_up = anyio.Event()
    steps = []

    def count(done):
        steps.append(done)
        if len(steps) == 2:
            give_up.set()

    finished = await client.call("slow", SLOW, progress=count, give_up=give_up)
    expect(finished is None, "the call finished although it was canceled")
    while (await report(client))["canceled"] == before["canceled"]:
        await anyio.sleep(0.1)
    return "the server noticed"


async def report(client):
    return json.loads(text(await client.call("slow_report", {})))


async def subscribe(client):
    watched = [found["uri"] for found in await client.resources() if found["uri"].endswith("watched-resource")]
    expect(watched, "the watched resource is not listed")
    async with client.watching_resource(watched[0]) as updated:
        await client.call("test_touch_resource", {})
        uri = await updated
    expect(uri == watched[0], f"the update was for {uri}")
    return "one update"


async def prompts(client):
    names = [prompt["name"] for prompt in await client.prompts()]
    got = await client.prompt("test_prompt_with_arguments", {"arg1": "one", "arg2": "two"})
    said = got["messages"][0]["content"]["text"]
    expect("arg1='one'" in said and "arg2='two'" in said, f"the prompt was {said}")
    return f"{len(names)} prompts"


async def resources(client):
    listed = [found["uri"] for found in await client.resources()]
    sentence_uri = next(uri for uri in listed if uri.endswith("static-text"))
    sentence = (await client.read(sentence_uri))["contents"][0]
    expect(sentence["text"] == "This is the content of the static text resource.", f"it says {sentence['text']}")
    expect(sentence["uri"] == sentence_uri, f"the content calls itself {sentence['uri']}")
    picture = (await client.read(next(uri for uri in listed if uri.endswith("static-binary"))))["contents"][0]
    expect(picture["blob"], "the picture is empty")
    templates = [one["uriTemplate"] for one in await client.templates()]
    template = next(one for one in templates if "template/{id}/data" in one)
    data = json.loads((await client.read(template.replace("{id}", "42")))["contents"][0]["text"])
    expect(data["id"] == "42", f"the template gave {data}")
    return f"{len(listed)} resources, 1 template"


async def completion(client):
    values = await client.complete("test_prompt_with_arguments", "arg1", "par")
    expect(values == ["paris", "park", "party"], f"the values were {values}")
    return f"{len(values)} values"


async def elicitation(client):
    return await asks(client, "test_elicitation", {"message": "Go on?"}, ["accept", "yes"])


async def sampling(client):
    return await asks(client, "test_sampling", {"prompt": "a question"}, ["sampled a question"])


async def roots(client):
    return await asks(client, "test_input_required_result_list_roots", {}, ["file:///judge"])


async def asks(client, tool, given, wanted):
    said = text(await client.call(tool, given))
    for word in wanted:
        expect(word in said, f"{tool} said {said}")
    return "asked and answered"


async def reload(client):
    before = [tool["name"] for tool in await client.tools()]
    async with client.watching_tools() as changed:
        trigger = os.environ.get("JUDGE_RELOAD")
        if trigger:
            await client.call(trigger, {})
        else:
            show({"ask": "reload"})
        await changed
        after = [tool["name"] for tool in await client.tools()]
    expect(before != after, "the list is as before")
    return f"{len(before)} → {len(after)} tools"


STEPS = {
    "list": list_tools,
    "call": call,
    "stream": stream,
    "progress": progress,
    "cancel": cancel,
    "subscribe": subscribe,
    "prompts": prompts,
    "resources": resources,
    "completion": completion,
    "elicitation": elicitation,
    "sampling": sampling,
    "roots": roots,
    "reload": reload,
}


class Waiting:
    """An awaitable for the first of something."""

    def __init__(self):
        self.event = anyio.Event()
        self.value = None

    def done(self, value=None):
        self.value = value
        self.event.set()

    def __await__(self):
        return self._wait().__await__()

    async def _wait(self):
        await self.event.wait()
        return self.value


def second_tool():
    given = os.environ.get("JUDGE_SECOND")
    return json.loads(given) if given else None


def text(result):
    return "".join(block.get("text", "") for block in result["content"])


def plain(model):
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


def expect(holds, otherwise):
    if not holds:
        raise AssertionError(otherwise)


def show(line):
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()
