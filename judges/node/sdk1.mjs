// TypeScript SDK 1.x. Usage: node sdk1.mjs URL; one that ends in /sse means the transport of 2024-11-05.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema
} from '@modelcontextprotocol/sdk/types.js';

import { answers, capabilities, run } from './session.mjs';

const url = new URL(process.argv[2]);
const sse = url.pathname.endsWith('/sse');
const transport = sse ? new SSEClientTransport(url) : new StreamableHTTPClientTransport(url);
const sdk = new Client({ name: 'judge', version: '1' }, { capabilities });
const said = [];

sdk.setRequestHandler(ElicitRequestSchema, (request) => answers.elicitation(request.params));
sdk.setRequestHandler(CreateMessageRequestSchema, (request) => answers.sampling(request.params));
sdk.setRequestHandler(ListRootsRequestSchema, () => answers.roots());
sdk.setNotificationHandler(LoggingMessageNotificationSchema, (line) => void said.push(line.params.data));

async function all(verb, key) {
  const items = [];
  let cursor;
  do {
    const page = await verb.call(sdk, cursor === undefined ? {} : { cursor });
    items.push(...page[key]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return items;
}

await run({
  said,
  async connect() {
    await sdk.connect(transport);
    return sdk.getServerVersion().name;
  },
  async close() {
    if (!sse) await transport.terminateSession();
    await sdk.close();
  },
  tools: () => all(sdk.listTools, 'tools'),
  prompts: () => all(sdk.listPrompts, 'prompts'),
  resources: () => all(sdk.listResources, 'resources'),
  templates: () => all(sdk.listResourceTemplates, 'resourceTemplates'),
  async call(name, given, { progress, signal, log } = {}) {
    if (log) await sdk.setLoggingLevel('info');
    return sdk.callTool({ name, arguments: given }, undefined, { onprogress: progress, signal });
  },
  prompt: (name, given) => sdk.getPrompt({ name, arguments: given }),
  read: (uri) => sdk.readResource({ uri }),
  async complete(prompt, name, value) {
    const result = await sdk.complete({ ref: { type: 'ref/prompt', name: prompt }, argument: { name, value } });
    return result.completion.values;
  },
  async watchTools(changed) {
    sdk.setNotificationHandler(ToolListChangedNotificationSchema, () => changed());
    return async () => {};
  },
  async watchResource(uri, updated) {
    sdk.setNotificationHandler(ResourceUpdatedNotificationSchema, (update) => updated(update.params.uri));
    await sdk.subscribeResource({ uri });
    return () => sdk.unsubscribeResource({ uri });
  }
});
