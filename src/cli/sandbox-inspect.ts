import type { PurserClient, SandboxView } from '../client/index.ts'
import { defineVerb } from './line/verb.ts'
import { printFound } from './terminal/inspected.ts'

export const verb = defineVerb({
  args: [{ name: 'id', count: '1-', completes: 'sandbox' }],
  options: {},
  run: ({ client, args, format, debug }) =>
    printFound(args, async (id) => [await inspect(client, id)], { format, debug }),
})

/** With the containers in it, and what its shim says where that can be asked. */
async function inspect(client: PurserClient, id: string): Promise<object> {
  const path = `/v1/sandboxes/${encodeURIComponent(id)}`
  const sandbox = await client.get<SandboxView>(path)
  const shim = sandbox.status === 'running' ? await client.get<object>(`${path}/status`).catch(unanswered) : undefined
  const containers = await Array.fromAsync(client.list('containers'))
  const members = containers.filter((each) => each.sandbox === id)
  const isIn = members.map(({ id, status }) => ({ id, status }))
  return { ...sandbox, ...(shim === undefined ? {} : { shim }), containers: isIn }
}

const unanswered = (error: unknown): object => ({ error: error instanceof Error ? error.message : String(error) })
