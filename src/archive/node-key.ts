import { generateKeyPairSync } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { PurserError } from '../model/errors.ts'
import { originOf } from './checkpoint.ts'
import { writeDurably } from './directory.ts'
import { type Signer, signerOf } from './note.ts'

/** The node's Ed25519 key, made at the first start. @param path PKCS 8 PEM, readable by its owner only */
export async function nodeSigner(path: string, node: string): Promise<Signer> {
  let pem: string
  try {
    pem = await readFile(path, 'utf8')
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'ENOENT')) throw cause
    const { privateKey } = generateKeyPairSync('ed25519')
    pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeDurably(path, pem)
  }
  try {
    return signerOf(originOf(node), pem)
  } catch (cause) {
    throw new PurserError('data_loss', `${path} holds no private key`, { cause, remedy: 'put it back from a backup' })
  }
}
