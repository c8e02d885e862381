import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { writeDurably } from '../archive/directory.ts'
import { PurserError } from '../model/errors.ts'
import { Secret } from '../model/secret.ts'

/** What a sealed value is for: anywhere else it does not open. */
export interface SealedFor {
  namespace: string
  /** Of the variable. */
  name: string
}

const PREFIX = 'sealed:v1:'
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const ALGORITHM = 'aes-256-gcm'

export const isSealed = (text: string): boolean => text.startsWith(PREFIX)

/**
 * Seals values so that only this node can read them: they may then stand in commands and events. The same value for the same
 * purpose gives the same text, so that a request which is made again is the same request; the nonce is a MAC of both, as in SIV.
 *
 * @see RFC 5297 section 3, on nonces that are made from what they protect
 */
export class SealingKey {
  readonly #path: string
  readonly #cipherKey: Uint8Array
  readonly #nonceKey: Uint8Array

  private constructor(path: string, key: Uint8Array) {
    this.#path = path
    this.#cipherKey = derived(key, 'purser sealing: cipher')
    this.#nonceKey = derived(key, 'purser sealing: nonce')
  }

  /** The node's key, made at the first start. @param path readable by its owner only */
  static async open(path: string): Promise<SealingKey> {
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch (cause) {
      if (!(cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')) throw cause
      text = `${randomBytes(KEY_BYTES).toString('hex')}\n`
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      await writeDurably(path, text)
    }
    if (/^[0-9a-f]{64}\n$/.test(text)) return new SealingKey(path, Buffer.from(text.trim(), 'hex'))
    throw new PurserError('data_loss', `${path} holds no key`, { remedy: 'put it back from a backup' })
  }

  seal(value: Secret, purpose: SealedFor): string {
    const bound = Buffer.from(JSON.stringify([purpose.namespace, purpose.name]))
    const plain = Buffer.from(value.reveal())
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bound.length)
    const mac = createHmac('sha256', this.#nonceKey).update(length).update(bound).update(plain).digest()
    const nonce = mac.subarray(0, NONCE_BYTES)
    const cipher = createCipheriv(ALGORITHM, this.#cipherKey, nonce).setAAD(bound)
    const sealed = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
    return `${PREFIX}${sealed.toString('base64url')}`
  }

  /** @throws PurserError failed_precondition when it was sealed by another key or for another purpose, or altered */
  open(text: string, purpose: SealedFor): Secret {
    const bytes = Buffer.from(text.slice(PREFIX.length), 'base64url')
    const end = bytes.length - TAG_BYTES
    try {
      const decipher = createDecipheriv(ALGORITHM, this.#cipherKey, bytes.subarray(0, NONCE_BYTES))
      decipher.setAAD(Buffer.from(JSON.stringify([purpose.namespace, purpose.name])))
      decipher.setAuthTag(bytes.subarray(end))
      return new Secret(
        `${decipher.update(bytes.subarray(NONCE_BYTES, end), undefined, 'utf8')}${decipher.final('utf8')}`,
      )
    } catch (cause) {
      throw new PurserError(
        'failed_precondition',
        `the sealed value of ${purpose.name} does not open: it was sealed for another variable or namespace, or by another key than ${this.#path}`,
        { cause, remedy: 'give the value again with --secret-env; after a move to another host, bring that key along' },
      )
    }
  }

  /** The variables of a process, those that are sealed opened: for what runs it alone. */
  openVariables(variables: readonly string[], namespace: string): string[] {
    return variables.map((variable) => {
      const at = variable.indexOf('=')
      const [name, value] = [variable.slice(0, at), variable.slice(at + 1)]
      return isSealed(value) ? `${name}=${this.open(value, { namespace, name }).reveal()}` : variable
    })
  }
}

const derived = (key: Uint8Array, purpose: string): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', key, new Uint8Array(), purpose, KEY_BYTES))
