// The MCP Inspector's command line: one program run per step, so only what needs no open conversation.
// Usage: node inspector.mjs URL legacy|modern
import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const program = join(here, 'node_modules', '@modelcontextprotocol', 'inspector', 'clients', 'launcher', 'build', 'index.js');
const RUN_MS_MAX = 30_000;
const [url, era] = process.argv.slice(2);

function inspect(...options) {
  const given = [program, '--cli', url, '--transport', 'http', '--protocol-era', era, '--format', 'json', '--quiet', ...options];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, given, { timeout: RUN_MS_MAX, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (error) return reject(new Error(stderr || error.message));
      const answer = JSON.parse(stdout);
      resolve(answer.result ?? answer);
    });
  });
}

const call = (tool, given) =>
  inspect('--method', 'tools/call', '--tool-name', tool, '--tool-args-json', JSON.stringify(given));

const steps = {
  async connect() {
    await inspect('--method', 'tools/list');
    return era;
  },
  async list() {
    const names = (await inspect('--method', 'tools/list')).tools.map((tool) => tool.name);
    expect(names.includes('echo'), `echo is not among ${names.length} tools`);
    const second = secondTool();
    expect(!second || names.includes(second.tool), 'the tool of the second server is missing');
    return `${names.length} tools`;
  },
  async call() {
    const said = (await call('echo', { text: 'héllo' })).content[0].text;
    expect(said.includes('héllo'), `echo said ${said}`);
    const second = secondTool();
    if (!second) return 'one server';
    const result = await call(second.tool, second.arguments);
    expect(!result.isError, `${second.tool} failed`);
    return 'both servers';
  },
  async prompts() {
    const { prompts } = await inspect('--method', 'prompts/list');
    const got = await inspect('--method', 'prompts/get', '--prompt-name', 'test_prompt_with_arguments', '--prompt-args', 'arg1=one', 'arg2=two');
    const said = got.messages[0].content.text;
    expect(said.includes("arg1='one'") && said.includes("arg2='two'"), `the prompt was ${said}`);
    return `${prompts.length} prompts`;
  },
  async resources() {
    const { resources } = await inspect('--method', 'resources/list');
    const uri = resources.find((resource) => resource.uri.endsWith('static-text')).uri;
    const { contents } = await inspect('--method', 'resources/read', '--uri', uri);
    expect(contents[0].text === 'This is the content of the static text resource.', `it says ${contents[0].text}`);
    const { resourceTemplates } = await inspect('--method', 'resources/templates/list');
    return `${resources.length} resources, ${resourceTemplates.length} template`;
  }
};

for (const [step, body] of Object.entries(steps)) {
  try {
    print({ step, ok: true, detail: await body() });
  } catch (error) {
    print({ step, ok: false, detail: String(error.message).slice(0, 300) });
    if (step === 'connect') break;
  }
}

function secondTool() {
  return process.env.JUDGE_SECOND ? JSON.parse(process.env.JUDGE_SECOND) : undefined;
}

function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
