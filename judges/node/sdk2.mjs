// TypeScript SDK 2.x. Usage: node sdk2.mjs URL legacy|modern
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { answers, capabilities, run } from './session.mjs';

const modern = process.argv[3] === 'modern';
const transport = new StreamableHTTPClientTransport(new URL(process.argv[2]));
const sdk = new Client(
  { name: 'judge', version: '2' },
  { capabilities, versionNegotiation: { mode: modern ? { pin: '2026-07-28' } : 'legacy' } }
);
const said = [];
const fresh = { cacheMode: 'bypass' };

sdk.setRequestHandler('elicitation/create', (request) => answers.elicitation(request.params));
sdk.setRequestHandler('sampling/createMessage', (request) => answers.sampling(request.params));
sdk.setRequestHandler('roots/list', () => answers.roots());
sdk.setNotificationHandler('notifications/message', (line) => void said.push(line.params.data));

await run({
  said,
  async connect() {
    await sdk.connect(transport);
    return sdk.getNegotiatedProtocolVersion();
  },
  async close() {
    if (!modern) await transport.terminateSession();
    await sdk.close();
  },
  tools: async () => (await sdk.listTools(undefined, fresh)).tools,
  prompts: async () => (await sdk.listPrompts(undefined, fresh)).prompts,
  resources: async () => (await sdk.listResources(undefined, fresh)).resources,
  templates: async () => (await sdk.listResourceTemplates(undefined, fresh)).resourceTemplates,
  async call(name, given, { progress, signal, log } = {}) {
    if (log && !modern) await sdk.setLoggingLevel('info');
    const _meta = log && modern ? { 'io.modelcontextprotocol/logLevel': 'info' } : undefined;
    return sdk.callTool({ name, arguments: given, ...(_meta && { _meta }) }, { onprogress: progress, signal });
  },
  prompt: (name, given) => sdk.getPrompt({ name, arguments: given }),
  read: (uri) => sdk.readResource({ uri }, fresh),
  async complete(prompt, name, value) {
    const result = await sdk.complete({ ref: { type: 'ref/prompt', name: prompt }, argument: { name, value } });
    return result.completion.values;
  },
  async watchTools(changed) {
    sdk.setNotificationHandler('notifications/tools/list_changed', () => changed());
    return listening({ toolsListChanged: true });
  },
  async watchResource(uri, updated) {
    sdk.setNotificationHandler('notifications/resources/updated', (update) => updated(update.params.uri));
    if (modern) return listening({ resourceSubscriptions: [uri] });
    await sdk.subscribeResource({ uri });
    return () => sdk.unsubscribeResource({ uri });
  }
});

async function listening(filter) {
  if (!modern) return async () => {};
  const subscription = await sdk.listen(filter);
  return () => subscription.close();
}
