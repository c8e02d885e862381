import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'
import { PurserError } from '../model/errors.ts'

/** Ed25519 in C2SP signed-note. */
const ED25519 = 1
const PUBLIC_BYTES = 32
/** What stands before the raw key in an Ed25519 public key's DER (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

/** Whoever signs notes: a name, and a key. @see C2SP signed-note, "Signatures" */
export interface Signer {
  /** No spaces, no plus sign. */
  name: string
  key: KeyObject
}

export interface Verifier {
  name: string
  /** First 4 bytes of SHA-256(name || "\n" || type || public key). */
  keyId: Buffer
  key: KeyObject
}

export function signerOf(name: string, privateKeyPem: string): Signer {
  return { name, key: createPrivateKey(privateKeyPem) }
}

export function verifierOf(signer: Signer): Verifier {
  const key = createPublicKey(signer.key)
  return { name: signer.name, key, keyId: keyIdOf(signer.name, rawPublicKey(key)) }
}

/** The verifier key as transparency-log tools take it: NAME+KEYID+BASE64. */
export function formatVerifier({ name, keyId, key }: Verifier): string {
  const typed = Buffer.concat([Buffer.from([ED25519]), rawPublicKey(key)])
  return `${name}+${keyId.toString('hex')}+${typed.toString('base64')}`
}

export function parseVerifier(text: string): Verifier {
  const [, name, id, encoded] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.trim()) ?? []
  const typed = Buffer.from(encoded ?? '', 'base64')
  if (name === undefined || typed.length !== 1 + PUBLIC_BYTES || typed[0] !== ED25519) throw badKey(text)
  const raw = typed.subarray(1)
  const keyId = keyIdOf(name, raw)
  if (keyId.toString('hex') !== id) throw badKey(text)
  const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' })
  return { name, key, keyId }
}

/** @param text ends with a newline */
export function signNote(text: string, signer: Signer): string {
  const { keyId } = verifierOf(signer)
  const signature = sign(null, Buffer.from(text), signer.key)
  return `${text}\n\u2014 ${signer.name} ${Buffer.concat([keyId, signature]).toString('base64')}\n`
}

/**
 * @returns the text of a note that the verifier's key has signed; signatures of others, such as witnesses, are ignored
 * @throws PurserError data_loss when it is no note, or none of its signatures is the verifier's
 */
export function openNote(note: string, verifier: Verifier): string {
  const end = note.lastIndexOf('\n\n')
  if (end < 0 || !note.endsWith('\n'))
    throw new PurserError('data_loss', 'this is no signed note: a blank line and signatures are missing')
  const text = note.slice(0, end + 1)
  for (const line of note.slice(end + 2).split('\n')) {
    const [, name, encoded] = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/=]+)$/.exec(line) ?? []
    if (name !== verifier.name || encoded === undefined) continue
    const bytes = Buffer.from(encoded, 'base64')
    if (bytes.toString('base64') !== encoded)
      throw new PurserError('data_loss', `the signature of ${name} is not in canonical base64: it was altered`)
    if (!bytes.subarray(0, 4).equals(verifier.keyId)) continue
    if (verify(null, Buffer.from(text), verifier.key, bytes.subarray(4))) return text
    throw new PurserError('data_loss', `the signature of ${name} does not match the note: one of them was altered`)
  }
  throw new PurserError('data_loss', `the note is not signed by ${formatVerifier(verifier)}`, {
    remedy: 'use the public key of the node that wrote it',
  })
}

function keyIdOf(name: string, raw: Buffer): Buffer {
  return hash('sha256', Buffer.concat([Buffer.from(`${name}\n`), Buffer.from([ED25519]), raw]), 'buffer').subarray(0, 4)
}

const rawPublicKey = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' }).subarray(-PUBLIC_BYTES)

const badKey = (text: string): PurserError =>
  new PurserError('invalid_argument', `${JSON.stringify(text.slice(0, 100))} is no verifier key`, {
    remedy: 'it has the form NAME+KEYID+BASE64; `purser log key` prints the one of a node',
  })
