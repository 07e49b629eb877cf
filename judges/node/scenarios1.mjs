// The scenarios on TypeScript SDK 1.x. Usage: node scenarios1.mjs URL
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';

import { answered, capabilities, play } from './scenarios.mjs';

const transport = new StreamableHTTPClientTransport(new URL(process.argv[2]));
const sdk = new Client({ name: 'judge', version: '1' }, { capabilities });
sdk.setRequestHandler(ElicitRequestSchema, answered);

await play({
  connect: () => sdk.connect(transport),
  close: () => sdk.close(),
  tools: async () => (await sdk.listTools()).tools,
  call: (name, given) => sdk.callTool({ name, arguments: given }),
  extras: async () => {}
});
