import { constants, type KeyObject, verify, X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { digestSchema } from '../model/digest.ts'
import { parseJson, parseSchema } from '../oci/json.ts'
import type { Checked } from './checked.ts'
import { referrersOf, type SignedImage, signatureBlob } from './signed-image.ts'

const ARTIFACT = 'application/vnd.cncf.notary.signature'
const JWS = 'application/jose+json'
const CHAIN_MAX = 8
const EKU_CODE_SIGNING = '1.3.6.1.5.5.7.3.3'

/** Somebody whom the policy trusts, when an authority of its trust store says that it is them. */
export interface Subject {
  name: string
  /** `CN=build`, `O=Example`: all of them; none for anybody. */
  parts: readonly string[]
}

/** @see notaryproject/specifications, signature-envelope-jws.md */
const envelope = z.object({
  payload: z.base64url(),
  protected: z.base64url(),
  header: z.object({ x5c: z.array(z.base64()).min(1).max(CHAIN_MAX) }),
  signature: z.base64url(),
})

const HEADERS = {
  scheme: 'io.cncf.notary.signingScheme',
  time: 'io.cncf.notary.signingTime',
  expiry: 'io.cncf.notary.expiry',
} as const

const protectedHeader = z.object({
  alg: z.enum(['PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512']),
  cty: z.literal('application/vnd.cncf.notary.payload.v1+json'),
  crit: z.array(z.enum(Object.values(HEADERS), 'it has a critical header that is not known here')),
  [HEADERS.scheme]: z.literal('notary.x509', 'only the signing scheme notary.x509 is known here'),
  [HEADERS.time]: z.iso.datetime({ offset: true }),
  [HEADERS.expiry]: z.iso.datetime({ offset: true }).optional(),
})

const payload = z.object({ targetArtifact: z.object({ digest: digestSchema, size: z.int(), mediaType: z.string() }) })

/**
 * Checks the Notary Project's signatures of an image (JWS envelopes) against subjects of an authority.
 *
 * @param roots certificates of the authorities that are trusted
 * @see notaryproject/specifications, trust-store-trust-policy.md, "Signature verification details"
 */
export async function checkNotation(
  image: SignedImage,
  { roots, subjects }: { roots: readonly X509Certificate[]; subjects: readonly Subject[] },
  checked: Checked,
  signal: AbortSignal,
): Promise<void> {
  for await (const { layers } of referrersOf(image, ARTIFACT, signal)) {
    await checked.signature(signal, async () => {
      const [layer] = layers
      if (layer?.mediaType !== JWS)
        throw new Error(`an envelope of type ${layer?.mediaType} is not known here: sign with JWS`)
      const leaf = verifyEnvelope(image, await signatureBlob(image, layer, signal), roots, new Date())
      const names = new Set(leaf.subject.split('\n'))
      return { demands: subjects, meets: ({ parts }) => parts.every((part) => names.has(part)) }
    })
  }
}

/** @returns the certificate of who has signed. @throws when it is no good */
function verifyEnvelope(
  { target }: SignedImage,
  bytes: Buffer,
  roots: readonly X509Certificate[],
  now: Date,
): X509Certificate {
  const parts = parseSchema(envelope, parseJson(bytes, 'signature envelope'), 'signature envelope')
  const decoded = (text: string) => Buffer.from(text, 'base64url')
  const header = parseSchema(
    protectedHeader,
    parseJson(decoded(parts.protected), 'signature header'),
    'signature header',
  )
  const chain = parts.header.x5c.map((der) => new X509Certificate(Buffer.from(der, 'base64')))
  const leaf = verifyChain(chain, roots, now)
  const signed = Buffer.from(`${parts.protected}.${parts.payload}`)
  if (!verifyJws(header.alg, signed, leaf.publicKey, decoded(parts.signature)))
    throw new Error('its signature does not fit')
  const expiry = header[HEADERS.expiry]
  if (expiry !== undefined && Date.parse(expiry) <= now.getTime()) throw new Error(`it has expired on ${expiry}`)
  const { targetArtifact } = parseSchema(payload, parseJson(decoded(parts.payload), 'signed payload'), 'signed payload')
  const { digest, size, mediaType } = targetArtifact
  if (digest !== target.digest || size !== target.sizeBytes || mediaType !== target.mediaType)
    throw new Error(`it signs another image, ${digest}`)
  return leaf
}

/** From who has signed up to an authority that is trusted; each certificate holds now. @see RFC 5280 section 6 */
function verifyChain(chain: readonly X509Certificate[], roots: readonly X509Certificate[], now: Date): X509Certificate {
  const [leaf] = chain
  if (leaf === undefined) throw new Error('it has no certificate')
  if (leaf.ca) throw new Error('it is signed by an authority itself')
  if (!leaf.keyUsage?.includes(EKU_CODE_SIGNING)) throw new Error('its certificate is not for signing code')
  for (const [index, certificate] of chain.entries()) {
    const name = certificate.subject.replaceAll('\n', ', ')
    if (certificate.validFromDate > now || certificate.validToDate < now)
      throw new Error(`the certificate of ${name} holds from ${certificate.validFrom} to ${certificate.validTo}`)
    if (roots.some((root) => root.fingerprint256 === certificate.fingerprint256) && index > 0) return leaf
    const issuer = chain[index + 1] ?? roots.find((root) => isIssuedBy(certificate, root))
    if (issuer === undefined || !isIssuedBy(certificate, issuer)) break
    if (chain[index + 1] === undefined && holds(issuer, now)) return leaf
  }
  throw new Error(`the certificate of ${leaf.subject.replaceAll('\n', ', ')} is by no authority of the trust store`)
}

const isIssuedBy = (certificate: X509Certificate, issuer: X509Certificate): boolean =>
  issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)

const holds = ({ validFromDate, validToDate }: X509Certificate, now: Date): boolean =>
  validFromDate <= now && now <= validToDate

/** @see RFC 7518 sections 3.4 and 3.5 */
function verifyJws(alg: string, signed: Buffer, key: KeyObject, signature: Buffer): boolean {
  const hash = `sha${alg.slice(2)}`
  if (alg.startsWith('PS')) {
    if (key.asymmetricKeyType !== 'rsa') return false
    const padding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    return verify(hash, signed, { key, ...padding }, signature)
  }
  return key.asymmetricKeyType === 'ec' && verify(hash, signed, { key, dsaEncoding: 'ieee-p1363' }, signature)
}
