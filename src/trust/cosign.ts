import { createHash, type KeyObject, verify, X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { type Digest, splitDigest } from '../model/digest.ts'
import { parseJson, parseSchema } from '../oci/json.ts'
import type { FullDescriptor } from '../oci/manifest.ts'
import type { Checked } from './checked.ts'
import { referrersOf, type SignedImage, signatureBlob, taggedManifest } from './signed-image.ts'
import { type Demand, verifyBundle } from './sigstore.ts'

/** What cosign calls the media types of its signatures, the older kind and the newer one. */
const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json'
const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json'

const ANNOTATIONS = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  logEntry: 'dev.sigstore.cosign/bundle',
} as const

/** @see containers/image, docs/containers-signature.5.md; sigstore/cosign, specs/SIGNATURE_SPEC.md */
const simpleSigning = z.object({
  critical: z.object({
    type: z.literal('cosign container image signature'),
    image: z.object({ 'docker-manifest-digest': z.string() }),
  }),
})

const statement = z.object({
  _type: z.string().startsWith('https://in-toto.io/Statement/'),
  predicateType: z.literal('https://sigstore.dev/cosign/sign/v1', 'it is an attestation, no signature'),
  subject: z.array(z.object({ digest: z.record(z.string(), z.string()) })).min(1),
})

const logEntry = z.object({
  SignedEntryTimestamp: z.base64(),
  Payload: z.object({
    body: z.base64(),
    integratedTime: z.int(),
    logIndex: z.int(),
    logID: z.string().regex(/^[0-9a-f]{64}$/),
  }),
})

/**
 * Checks cosign's signatures of an image, of both kinds, against keys and identities.
 *
 * @param checked is told what was found
 */
export async function checkCosign(
  image: SignedImage,
  demands: readonly Demand[],
  checked: Checked,
  signal: AbortSignal,
): Promise<void> {
  const { algorithm, hex } = splitDigest(image.target.digest)
  const simple = await taggedManifest(image, `${algorithm}-${hex}.sig`, signal)
  for (const layer of simple?.layers ?? []) {
    if (layer.mediaType !== SIMPLE_SIGNING) continue
    await checked.signature(signal, async () => {
      const payload = await signatureBlob(image, layer, signal)
      return { demands, meets: (demand) => meetsSimple(demand, layer, payload, image.target.digest) }
    })
  }
  for await (const manifest of referrersOf(image, BUNDLE, signal)) {
    const [layer] = manifest.layers
    if (layer === undefined) continue
    await checked.signature(signal, async () => {
      const bundle = parseJson(await signatureBlob(image, layer, signal), 'signature bundle')
      return { demands, meets: (demand) => meetsBundle(demand, bundle, image.target.digest) }
    })
  }
}

function meetsSimple(demand: Demand, { annotations }: FullDescriptor, payload: Buffer, digest: Digest): boolean {
  const text = annotations[ANNOTATIONS.signature]
  if (text === undefined) throw new Error(`it lacks the annotation ${ANNOTATIONS.signature}`)
  const signature = Buffer.from(text, 'base64')
  if (demand.kind === 'key') {
    if (!verifies(payload, demand.key, signature)) return false
  } else if (verifyBundle(bundleOf(annotations, payload, signature), demand, payload) === undefined) return false
  // Only what somebody trusted has signed is worth reading.
  const { critical } = parseSchema(simpleSigning, parseJson(payload, 'signed payload'), 'signed payload')
  if (critical.image['docker-manifest-digest'] === digest) return true
  throw new Error(`it signs another image, ${critical.image['docker-manifest-digest'].slice(0, 80)}`)
}

function meetsBundle(demand: Demand, bundle: unknown, digest: Digest): boolean {
  const envelope = verifyBundle(bundle, demand, undefined)
  if (envelope === undefined) return false
  const { subject } = parseSchema(statement, parseJson(envelope, 'in-toto statement'), 'in-toto statement')
  const { algorithm, hex } = splitDigest(digest)
  if (subject.some((each) => each.digest[algorithm] === hex)) return true
  throw new Error('it signs another image')
}

/** ECDSA and RSA sign SHA-256 of it; Ed25519 signs it as it is. */
export function verifies(payload: Buffer, key: KeyObject, signature: Buffer): boolean {
  const isEdwards = key.asymmetricKeyType === 'ed25519' || key.asymmetricKeyType === 'ed448'
  return verify(isEdwards ? null : 'sha256', payload, key, signature)
}

/** What annotations say of a signature by an identity, in the form that bundles have. */
function bundleOf(annotations: Readonly<Record<string, string>>, payload: Buffer, signature: Buffer): unknown {
  const pem = annotations[ANNOTATIONS.certificate]
  const entry = annotations[ANNOTATIONS.logEntry]
  if (pem === undefined) return undefined
  const messageSignature = {
    messageDigest: { algorithm: 'SHA2_256', digest: createHash('sha256').update(payload).digest('base64') },
    signature: signature.toString('base64'),
  }
  return {
    mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
    verificationMaterial: {
      x509CertificateChain: { certificates: [{ rawBytes: new X509Certificate(pem).raw.toString('base64') }] },
      tlogEntries: entry === undefined ? [] : [transparencyEntry(entry)],
    },
    messageSignature,
  }
}

function transparencyEntry(text: string): unknown {
  const { SignedEntryTimestamp, Payload } = parseSchema(
    logEntry,
    parseJson(Buffer.from(text), 'log entry'),
    'log entry',
  )
  return {
    logIndex: String(Payload.logIndex),
    logId: { keyId: Buffer.from(Payload.logID, 'hex').toString('base64') },
    kindVersion: { kind: 'hashedrekord', version: '0.0.1' },
    integratedTime: String(Payload.integratedTime),
    inclusionPromise: { signedEntryTimestamp: SignedEntryTimestamp },
    canonicalizedBody: Payload.body,
  }
}
