// The scenarios on TypeScript SDK 2.x. Usage: node scenarios2.mjs URL
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { answered, capabilities, play } from './scenarios.mjs';

const url = process.argv[2];
const modern = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION === '2026-07-28';
const sdk = new Client(
  { name: 'judge', version: '2' },
  { capabilities, versionNegotiation: { mode: modern ? { pin: '2026-07-28' } : 'legacy' } }
);
sdk.setRequestHandler('elicitation/create', answered);

await play({
  connect: () => sdk.connect(new StreamableHTTPClientTransport(new URL(url))),
  close: () => sdk.close(),
  tools,
  call: (name, given) => sdk.callTool({ name, arguments: given }),
  extras
});

// The SDK leaves out tools whose header annotations are wrong. Who stands before us has to, so we look at what came.
async function tools() {
  const { tools: listed } = await sdk.listTools();
  if (!modern) return listed;
  const told = (await bare('tools/list')).tools;
  if (told.length !== listed.length) throw new Error(`tools that no client may use: ${told.map((tool) => tool.name)}`);
  return listed;
}

async function extras() {
  for (const { uri } of (await sdk.listResources()).resources) await sdk.readResource({ uri });
  for (const { name } of (await sdk.listPrompts()).prompts) await sdk.getPrompt({ name });
}

async function bare(method) {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': capabilities,
    'io.modelcontextprotocol/clientInfo': { name: 'judge', version: '2' }
  };
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 'bare', method, params: { _meta: meta } })
  });
  const text = await answer.text();
  const line = text.startsWith('{') ? text : text.split('\n').findLast((line) => line.startsWith('data: {')).slice(6);
  return JSON.parse(line).result;
}
