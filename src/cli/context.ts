import type { Command } from 'commander'
import { PurserClient } from '../client/index.ts'
import type { Format } from './output.ts'

export interface Globals {
  namespace: string
  address: string
  format: Format
}

/** The client that the global options describe. */
export function contextOf(command: Command): { client: PurserClient; format: Format } {
  const { namespace, address, format } = command.optsWithGlobals<Globals>()
  return { client: new PurserClient({ socketPath: address, namespace }), format }
}

/** Does something with each argument; all are tried, the first failure is thrown at the end. */
export async function each(names: readonly string[], act: (name: string) => Promise<string>): Promise<void> {
  let failed: unknown
  for (const name of names) {
    try {
      process.stdout.write(`${await act(name)}\n`)
    } catch (error) {
      failed ??= error
      if (names.length > 1) process.stderr.write(`purser: ${error instanceof Error ? error.message : error}\n`)
    }
  }
  if (failed !== undefined) throw failed
}

export const collect = (value: string, before: string[]): string[] => [...before, value]
