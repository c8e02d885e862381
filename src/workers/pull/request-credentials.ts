import { PurserError } from '../../model/errors.ts'
import type { ImageReference } from '../../oci/reference.ts'
import { parseRegistryAuth } from '../../oci/registry-auth.ts'
import type { Job } from '../../queue/handler.ts'
import type { Credentials } from '../../registry/credentials.ts'

/**
 * The credentials that came with a command, or with the one it is a step of, where they are for this registry.
 *
 * @throws PurserError unauthenticated when there were some, and the daemon was restarted since
 */
export function requestCredentials({ command, enclosure }: Job, { registry }: ImageReference): Credentials | undefined {
  if (command.enclosed === undefined) return undefined
  if (!enclosure) {
    throw new PurserError('unauthenticated', 'the credentials that came with the request are gone', {
      remedy: 'the daemon was restarted, and they are kept nowhere: send the request again',
    })
  }
  const { server, credentials } = parseRegistryAuth(enclosure)
  return server === undefined || server === registry ? credentials : undefined
}
