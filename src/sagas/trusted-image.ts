import type { ImageState } from '../commands/image.ts'
import { trust } from '../commands/trust.ts'
import { PurserError } from '../model/errors.ts'
import { parseReference } from '../oci/reference.ts'
import { matchesReference } from '../oci/reference-pattern.ts'
import type { Saga } from './define.ts'

type PresentImage = Extract<ImageState, { status: 'present' }>

/** Has a present image verified anew where the policy for its name is another one than it was verified by. */
export async function requireTrust(
  saga: Saga<unknown, unknown>,
  name: string,
  image: PresentImage,
  step: string,
): Promise<void> {
  const { policies, deny } = saga.view.get(trust, 'default', 'node')
  const denied = [image.target.digest, image.manifest.digest].find((digest) => deny.includes(digest))
  if (denied !== undefined) {
    throw new PurserError('permission_denied', `image ${name} is ${denied}, which is denied on this node`, {
      remedy: 'use another image; [trust] deny in the configuration has the list',
    })
  }
  if (policies.length === 0) return
  const ref = parseReference(name)
  const policy = policies.find(({ match }) => matchesReference(match, ref))
  if (policy === undefined || policy.require === 'nothing' || image.verified?.policy === policy.fingerprint) return
  await saga.step(step, { type: 'image.verify', subject: name })
}
