import { createPublicKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Digest } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import { parseJson } from '../oci/json.ts'
import { formatReference, formatRepository, type ImageReference } from '../oci/reference.ts'
import { matchesReference } from '../oci/reference-pattern.ts'
import { Checked } from './checked.ts'
import type { Subject } from './notation.ts'
import { type CosignPolicy, fingerprintOf, type NotationPolicy, type TrustConfig, type TrustPolicy } from './policy.ts'
import type { SignedImage } from './signed-image.ts'
import type { Demand } from './sigstore.ts'

/** What an image was found to be signed by. */
export interface Verdict {
  /** Of the policy and the files that it names: another one asks for another verdict. */
  fingerprint: string
  require: TrustPolicy['require']
  /** Paths of keys and names of identities that have signed it. */
  signers: string[]
}

/** A policy with all that it names read. */
type Loaded = { policy: TrustPolicy; match: string; fingerprint: string } & (
  | { check: 'none' }
  | { check: 'cosign'; demands: Demand[] }
  | { check: 'notation'; roots: X509Certificate[]; subjects: Subject[] }
)

/**
 * Decides whether an image may be used, by the policies of the configuration. It fails closed: what cannot be verified, for
 * whatever reason, is not used.
 */
export class ImageVerifier {
  readonly #policies: readonly Loaded[]
  readonly #deny: ReadonlySet<Digest>

  private constructor(policies: readonly Loaded[], deny: readonly Digest[]) {
    this.#policies = policies
    this.#deny = new Set(deny)
  }

  /** @throws PurserError failed_precondition, naming the file of a policy that cannot be read or holds something else */
  static async load({ policy, deny }: TrustConfig): Promise<ImageVerifier> {
    return new ImageVerifier(await Promise.all(policy.map(load)), deny)
  }

  /** What an image's use depends on now; undefined where nothing is required of it. */
  requirementOf(ref: ImageReference): { fingerprint: string; match: string; policy: TrustPolicy } | undefined {
    const found = this.#policies.find(({ match }) => matchesReference(match, ref))
    return found === undefined || found.policy.require === 'nothing' ? undefined : found
  }

  /** Every policy, for the record. */
  get policies(): { match: string; require: TrustPolicy['require']; fingerprint: string }[] {
    return this.#policies.map(({ match, policy, fingerprint }) => ({ match, require: policy.require, fingerprint }))
  }

  get denied(): Digest[] {
    return [...this.#deny].sort()
  }

  /** @throws PurserError permission_denied for an image that is on the list of those that are never used */
  checkDenied(ref: ImageReference, digests: readonly Digest[]): void {
    const denied = digests.find((digest) => this.#deny.has(digest))
    if (denied === undefined) return
    throw new PurserError('permission_denied', `${formatReference(ref)} is ${denied}, which is denied on this node`, {
      remedy: 'use another image; [trust] deny in the configuration has the list',
    })
  }

  /**
   * Verifies what a name stands for.
   *
   * @param image its signatures are fetched by this
   * @returns undefined where nothing is required
   * @throws PurserError permission_denied, with the reason, when the policy is not met; what the registry answered when it
   *   could not be asked
   */
  async verify(image: SignedImage, signal: AbortSignal): Promise<Verdict | undefined> {
    const { ref, target } = image
    const found = this.#policies.find(({ match }) => matchesReference(match, ref))
    this.checkDenied(ref, [target.digest])
    if (found === undefined || found.policy.require === 'nothing') return undefined
    const { policy, fingerprint } = found
    if (found.check === 'none') throw denied(ref, target.digest, policy, 'images of this name are refused')
    const checked = new Checked()
    let wanted: readonly { name: string }[]
    if (found.check === 'cosign') {
      wanted = found.demands
      const { checkCosign } = await import('./cosign.ts') // Loaded by those who verify alone.
      await checkCosign(image, found.demands, checked, signal)
    } else {
      wanted = found.subjects
      const { checkNotation } = await import('./notation.ts')
      await checkNotation(image, found, checked, signal)
    }
    const missing = wanted.filter(({ name }) => !checked.met.has(name))
    const isMet = 'mode' in policy && policy.mode === 'all' ? missing.length === 0 : checked.met.size > 0
    if (!isMet) {
      const whose = checked.met.size === 0 ? '' : ` (missing: ${missing.map(({ name }) => name).join(', ')})`
      throw denied(ref, target.digest, policy, `${checked.reason}${whose}`)
    }
    return { fingerprint, require: policy.require, signers: [...checked.met].sort() }
  }
}

function denied(ref: ImageReference, digest: Digest, { match, require }: TrustPolicy, reason: string): PurserError {
  const message = `${formatReference(ref)} (${digest}) does not meet the policy for ${match}, which requires ${require}: ${reason}`
  return new PurserError('permission_denied', message, {
    remedy: `have ${formatRepository(ref)} signed as the policy asks; [trust] of the configuration has it`,
  })
}

async function load(policy: TrustPolicy): Promise<Loaded> {
  switch (policy.require) {
    case 'cosign':
      return await loadCosign(policy)
    case 'notation':
      return await loadNotation(policy)
    default:
      return { policy, match: policy.match, fingerprint: fingerprintOf(policy, []), check: 'none' }
  }
}

async function loadCosign(policy: CosignPolicy): Promise<Loaded> {
  const { match, keys, identities, trustedRoot, transparencyLog } = policy
  const files = await Promise.all(
    [...keys, ...(trustedRoot === undefined ? [] : [trustedRoot])].map((path) => read(path, match)),
  )
  const demands = keys.map((name, index): Demand => {
    const key = parsed(name, match, 'a public key (PEM)', () => createPublicKey(files[index] ?? ''))
    return { kind: 'key', name, key }
  })
  if (trustedRoot !== undefined && identities.length > 0) {
    const { trustMaterialOf } = await import('./sigstore.ts')
    const root = parsed(trustedRoot, match, 'a trusted root of sigstore (JSON)', () =>
      trustMaterialOf(parseJson(files.at(-1) ?? Buffer.alloc(0), 'trusted root')),
    )
    for (const { issuer, subject } of identities) {
      if (subject.startsWith('/'))
        parsed(subject, match, 'a regular expression', () => new RegExp(subject.slice(1, -1)))
      demands.push({ kind: 'identity', name: `${subject} of ${issuer}`, issuer, subject, root, transparencyLog })
    }
  }
  return { policy, match, fingerprint: fingerprintOf(policy, files), check: 'cosign', demands }
}

async function loadNotation(policy: NotationPolicy): Promise<Loaded> {
  const { match, trustStore, identities } = policy
  const files = await Promise.all(trustStore.map((path) => read(path, match)))
  const roots = files.flatMap((file, index) =>
    parsed(trustStore[index] ?? '', match, 'certificates (PEM)', () => certificatesIn(file)),
  )
  const subjects = identities.map((name) => ({
    name,
    parts: name === '*' ? [] : name.split(',').map((part) => part.trim()),
  }))
  return { policy, match, fingerprint: fingerprintOf(policy, files), check: 'notation', roots, subjects }
}

function certificatesIn(file: Buffer): X509Certificate[] {
  const blocks = file.toString('latin1').match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g)
  if (blocks === null) throw new Error('there is none')
  return blocks.map((pem) => new X509Certificate(pem))
}

async function read(path: string, match: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw new PurserError('failed_precondition', `the trust policy for ${match} names ${path}, which cannot be read`, {
      cause,
      remedy: 'put the file there, or correct [trust] in the configuration',
    })
  }
}

function parsed<T>(name: string, match: string, what: string, parse: () => T): T {
  try {
    return parse()
  } catch (cause) {
    throw new PurserError('failed_precondition', `the trust policy for ${match}: ${name} is not ${what}`, {
      cause,
      remedy: 'correct it, or [trust] in the configuration',
    })
  }
}
