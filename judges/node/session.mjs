// The scripted session: every step once, one JSON line per step on standard output.
//
// A client of some SDK is given as an adapter:
//   connect() -> description        close()
//   tools() prompts() resources() templates() -> whole lists
//   call(name, arguments, {progress, signal, log}) -> result
//   prompt(name, arguments)   read(uri)   complete(prompt, argument, value) -> values
//   watchTools(changed) -> stop    watchResource(uri, updated) -> stop
//   said: lines that the server logged so far

const WAIT_MS_MAX = 10_000;
const SLOW = { steps: 100, step_ms: 100 };

export const answers = {
  elicitation: () => ({ action: 'accept', content: { response: 'yes', name: 'Judge' } }),
  sampling: (params) => {
    const content = params.messages.at(-1).content;
    const text = (Array.isArray(content) ? content[0] : content).text;
    return { role: 'assistant', model: 'judge', content: { type: 'text', text: `sampled ${text}` } };
  },
  roots: () => ({ roots: [{ uri: 'file:///judge', name: 'judge' }] })
};

export const capabilities = { elicitation: {}, sampling: {}, roots: {} };

export async function run(client) {
  const step = async (name, body) => {
    try {
      print({ step: name, ok: true, detail: String((await body()) ?? '') });
      return true;
    } catch (error) {
      print({ step: name, ok: false, detail: String(error?.message ?? error).slice(0, 300) });
      return false;
    }
  };
  if (await step('connect', () => within('the handshake', client.connect()))) {
    const wanted = process.env.JUDGE_STEPS?.split(',');
    for (const [name, body] of steps(client)) {
      if (!wanted || wanted.includes(name)) await step(name, () => within(name, body()));
    }
  }
  await within('the end', client.close()).catch(() => {});
  process.exit(0);
}

function steps(client) {
  return [
    ['list', () => list(client)],
    ['call', () => call(client)],
    ['stream', () => stream(client)],
    ['progress', () => progress(client)],
    ['cancel', () => cancel(client)],
    ['subscribe', () => subscribe(client)],
    ['prompts', () => prompts(client)],
    ['resources', () => resources(client)],
    ['completion', () => completion(client)],
    ['elicitation', () => asks(client, 'test_elicitation', { message: 'Go on?' }, ['accept', 'yes'])],
    ['sampling', () => asks(client, 'test_sampling', { prompt: 'a question' }, ['sampled a question'])],
    ['roots', () => asks(client, 'test_input_required_result_list_roots', {}, ['file:///judge'])],
    ['reload', () => reload(client)]
  ];
}

async function list(client) {
  const names = (await client.tools()).map((tool) => tool.name);
  expect(names.includes('echo'), `echo is not among ${names.length} tools`);
  expect(new Set(names).size === names.length, 'a name comes twice');
  const second = secondTool();
  expect(!second || names.includes(second.tool), `${second?.tool} of the second server is missing`);
  return `${names.length} tools`;
}

async function call(client) {
  const said = text(await client.call('echo', { text: 'héllo' }));
  expect(said.includes('héllo'), `echo said ${said}`);
  const second = secondTool();
  if (!second) return 'one server';
  const result = await client.call(second.tool, second.arguments);
  expect(!result.isError, `${second.tool} said ${text(result)}`);
  return 'both servers';
}

async function stream(client) {
  const before = client.said.length;
  await client.call('test_tool_with_logging', {}, { log: true });
  const lines = client.said.length - before;
  expect(lines === 3, `${lines} of 3 lines came before the result`);
  return '3 lines before the result';
}

async function progress(client) {
  const seen = [];
  await client.call('test_tool_with_progress', {}, { progress: (step) => seen.push(step.progress) });
  expect(String(seen) === '0,50,100', `progress was ${seen}`);
  return '0, 50, 100';
}

async function cancel(client) {
  const before = await report(client);
  const abort = new AbortController();
  let steps = 0;
  const slow = client.call('slow', SLOW, {
    signal: abort.signal,
    progress: () => {
      steps += 1;
      if (steps === 2) abort.abort(new Error('no longer wanted'));
    }
  });
  const outcome = await slow.then(() => 'finished', () => 'gave up');
  expect(outcome === 'gave up', 'the call finished although it was canceled');
  for (;;) {
    const now = await report(client);
    if (now.canceled > before.canceled) return 'the server noticed';
    await pause(100);
  }
}

async function report(client) {
  return JSON.parse(text(await client.call('slow_report', {})));
}

async function subscribe(client) {
  const watched = (await client.resources()).find((resource) => resource.uri.endsWith('watched-resource'));
  expect(watched, 'the watched resource is not listed');
  const updated = waiting();
  const stop = await client.watchResource(watched.uri, updated.done);
  await client.call('test_touch_resource', {});
  const uri = await updated.come;
  expect(uri === watched.uri, `the update was for ${uri}`);
  await stop();
  return 'one update';
}

async function prompts(client) {
  const names = (await client.prompts()).map((prompt) => prompt.name);
  const got = await client.prompt('test_prompt_with_arguments', { arg1: 'one', arg2: 'two' });
  const said = got.messages[0].content.text;
  expect(said.includes("arg1='one'") && said.includes("arg2='two'"), `the prompt was ${said}`);
  return `${names.length} prompts`;
}

async function resources(client) {
  const listed = await client.resources();
  const find = (rest) => listed.find((resource) => resource.uri.endsWith(rest))?.uri;
  const sentence = (await client.read(find('static-text'))).contents[0];
  expect(sentence.text === 'This is the content of the static text resource.', `it says ${sentence.text}`);
  expect(sentence.uri === find('static-text'), `the content calls itself ${sentence.uri}`);
  const picture = (await client.read(find('static-binary'))).contents[0];
  expect(picture.blob?.length > 0, 'the picture is empty');
  const template = (await client.templates()).find((one) => one.uriTemplate.includes('template/{id}/data'));
  const filled = template.uriTemplate.replace('{id}', '42');
  const data = JSON.parse((await client.read(filled)).contents[0].text);
  expect(data.id === '42', `the template gave ${data.id}`);
  return `${listed.length} resources, 1 template`;
}

async function completion(client) {
  const values = await client.complete('test_prompt_with_arguments', 'arg1', 'par');
  expect(String(values) === 'paris,park,party', `the values were ${values}`);
  return `${values.length} values`;
}

async function asks(client, tool, given, wanted) {
  const said = text(await client.call(tool, given));
  for (const word of wanted) expect(said.includes(word), `${tool} said ${said}`);
  return 'asked and answered';
}

async function reload(client) {
  const before = (await client.tools()).map((tool) => tool.name);
  const changed = waiting();
  const stop = await client.watchTools(changed.done);
  const trigger = process.env.JUDGE_RELOAD;
  if (trigger) await client.call(trigger, {});
  else print({ ask: 'reload' });
  await changed.come;
  const after = (await client.tools()).map((tool) => tool.name);
  expect(String(before) !== String(after), 'the list is as before');
  await stop();
  return `${before.length} → ${after.length} tools`;
}

function secondTool() {
  return process.env.JUDGE_SECOND ? JSON.parse(process.env.JUDGE_SECOND) : undefined;
}

function text(result) {
  return result.content.map((block) => block.text ?? '').join('');
}

function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

function waiting() {
  let done;
  const come = new Promise((resolve) => (done = resolve));
  return { come, done };
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${WAIT_MS_MAX} ms`)), WAIT_MS_MAX);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
