import { image } from '../../commands/image.ts'
import type { Fact } from '../../model/aggregate.ts'
import type { Digest } from '../../model/digest.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import { formatReference, type ImageReference, parseReference } from '../../oci/reference.ts'
import type { Job } from '../../queue/handler.ts'
import type { Repository } from '../../registry/client.ts'
import type { Verdict } from '../../trust/verifier.ts'
import { definePullHandler, type PullEffects } from './effects.ts'
import { requestCredentials } from './request-credentials.ts'
import type { ResolvedPull } from './resolve.ts'

type ImageJob = Job<typeof image.initial, unknown, PullEffects>

/** Checks an image's signatures against the policy of now: one that is present, or else what its name stands for. */
export const verifyImage = definePullHandler(image, 'image.verify', async (job) => {
  const { effects, signal, state } = job
  const ref = parseReference(job.id)
  const open = openFor(job)
  const target = state.status === 'present' ? state.target : (await open(ref).resolve(signal)).descriptor
  const verdict = await decide(job, ref, open, target)
  const required = effects.trust.requirementOf(ref)?.policy.require ?? 'nothing'
  const facts = verdict === undefined ? [] : [verdictFact(job.id, target.digest, verdict)]
  const signers = verdict === undefined ? {} : { signers: verdict.signers }
  return { facts, result: { digest: target.digest, required, ...signers } }
})

/**
 * The verdict on an image that is about to be fetched, before a byte of its layers is.
 *
 * @returns what is to be recorded once the image is
 * @throws PurserError permission_denied, which is recorded
 */
export async function verified(
  job: ImageJob,
  ref: ImageReference,
  { target, manifest }: Pick<ResolvedPull, 'target' | 'manifest'>,
): Promise<Fact[]> {
  const { effects, state } = job
  const required = effects.trust.requirementOf(ref)
  await refusing(job, target.digest, async () => effects.trust.checkDenied(ref, [manifest.descriptor.digest]))
  const isPutBack = state.status === 'present' && state.superseded?.includes(target.digest)
  if (
    required &&
    'rollback' in required.policy &&
    required.policy.rollback === 'refuse' &&
    ref.digest === undefined &&
    isPutBack
  ) {
    const since = state.updatedAt
    const message = `${formatReference(ref)} stands for ${target.digest} again, which ${state.target.digest} had replaced by ${since}`
    const remedy = `pull it by its digest, or allow it: rollback = "allow" in the policy for ${required.match}`
    await refusing(job, target.digest, async () => {
      throw new PurserError('permission_denied', message, { remedy })
    })
  }
  const verdict = await decide(job, ref, openFor(job), target)
  return verdict === undefined ? [] : [verdictFact(job.id, target.digest, verdict)]
}

/** With the credentials of this request, where it brought some. */
const openFor =
  (job: ImageJob) =>
  (at: ImageReference): Repository =>
    job.effects.registry.open(at, requestCredentials(job, at))

const decide = (job: ImageJob, ref: ImageReference, open: (ref: ImageReference) => Repository, target: Descriptor) =>
  refusing(job, target.digest, () => job.effects.trust.verify({ ref, target, open }, job.signal))

const verdictFact = (id: string, digest: Digest, { fingerprint, require, signers }: Verdict): Fact =>
  image.fact(id, 'image.verified', { digest, policy: fingerprint, require, signers })

/** What is not allowed is on record, with the reason. */
async function refusing<T>({ append, id }: ImageJob, digest: Digest, verify: () => Promise<T>): Promise<T> {
  try {
    return await verify()
  } catch (error) {
    if (error instanceof PurserError && errorCodeOf(error) === 'permission_denied')
      await append(image.fact(id, 'image.refused', { digest, reason: error.message }))
    throw error
  }
}
