import type { KeyObject } from 'node:crypto'
import {
  bundleFromJSON,
  isBundleWithDsseEnvelope,
  isBundleWithPublicKey,
  type SerializedBundle,
} from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { type TrustMaterial, toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify'

/** One thing that a policy asks for: a signature by a key, or by somebody whom an authority vouches for. */
export type Demand =
  | { kind: 'key'; name: string; key: KeyObject }
  | { kind: 'identity'; name: string; issuer: string; subject: string; root: TrustMaterial; transparencyLog: boolean }

/** @param json `trusted_root.json`. @throws when it is none */
export const trustMaterialOf = (json: unknown): TrustMaterial => toTrustMaterial(TrustedRoot.fromJSON(json))

const BEGINNING = new Date(0)
const NO_ROOT: TrustMaterial = toTrustMaterial(TrustedRoot.fromJSON({}))

/**
 * Verifies a bundle against one demand.
 *
 * @param payload what was signed, where the bundle does not hold it
 * @returns the signed content: the payload, or that of the bundle's envelope; undefined for a bundle that is signed in
 *   another way than this demand asks for
 * @throws when the signature, its certificate or its log entry is not good
 * @see sigstore/protobuf-specs, sigstore_bundle.proto
 */
export function verifyBundle(json: unknown, demand: Demand, payload: Buffer | undefined): Buffer | undefined {
  if (typeof json !== 'object' || json === null) return undefined
  const bundle = bundleFromJSON(json as SerializedBundle) // It checks what it is given.
  if (isBundleWithPublicKey(bundle) !== (demand.kind === 'key')) return undefined
  const envelope = isBundleWithDsseEnvelope(bundle) ? bundle.content.dsseEnvelope : undefined
  const signed = envelope === undefined ? payload : envelope.payload
  if (signed === undefined || (envelope && envelope.payloadType !== IN_TOTO)) return undefined
  const entity = toSignedEntity(bundle, payload)
  if (demand.kind === 'identity') verifierFor(demand).verify(entity, policyOf(demand))
  // A key is trusted by itself: what a log says of its use is of another root.
  else verifierFor(demand).verify({ ...entity, tlogEntries: [], timestamps: [] })
  return signed
}

const IN_TOTO = 'application/vnd.in-toto+json'

function verifierFor(demand: Demand): Verifier {
  if (demand.kind === 'key') {
    const publicKey = () => ({ publicKey: demand.key, validFor: (date: Date) => date >= BEGINNING })
    return new Verifier({ ...NO_ROOT, publicKey }, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 })
  }
  // Without a log of transparency a time stamp says when the certificate was used, for it holds for minutes.
  const logged = demand.transparencyLog ? 1 : 0
  return new Verifier(demand.root, { tlogThreshold: logged, ctlogThreshold: logged, timestampThreshold: 1 })
}

function policyOf({ issuer, subject }: Extract<Demand, { kind: 'identity' }>) {
  const [, pattern = RegExp.escape(subject)] = /^\/(.*)\/$/s.exec(subject) ?? []
  // Without anchors a subject that only holds the wanted one would do.
  return { subjectAlternativeName: new RegExp(`^(?:${pattern})$`), extensions: { issuer } }
}
