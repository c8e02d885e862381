import type { PurserClient } from '../../client/index.ts'
import { errorCodeOf } from '../../model/errors.ts'

const PREFIX = 'container:'

/** A mode as the daemon takes it: of `container:NAME` with the id. A name that nobody has is left for the daemon to refuse. */
export async function withContainerId(client: PurserClient, mode: string): Promise<string> {
  if (!mode.startsWith(PREFIX)) return mode
  try {
    return PREFIX + (await client.container(mode.slice(PREFIX.length))).id
  } catch (error) {
    if (errorCodeOf(error) !== 'not_found') throw error
    return mode
  }
}
