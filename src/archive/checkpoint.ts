import { PurserError } from '../model/errors.ts'
import { HASH_BYTES } from './merkle.ts'
import { openNote, type Signer, signNote, type Verifier } from './note.ts'

/** The head of a log at one moment. @see C2SP tlog-checkpoint */
export interface Checkpoint {
  /** Names the log: the signer's name. */
  origin: string
  /** Number of events, which is the position of the last one. */
  size: number
  root: Buffer
}

/** The name under which a node signs. */
export const originOf = (node: string): string => `purser/nodes/${node}`

export function signCheckpoint({ origin, size, root }: Checkpoint, signer: Signer): string {
  return signNote(`${origin}\n${size}\n${root.toString('base64')}\n`, signer)
}

/** @throws PurserError data_loss when the note is no checkpoint that the verifier's key has signed */
export function openCheckpoint(note: string, verifier: Verifier): Checkpoint {
  return parseCheckpoint(openNote(note, verifier))
}

/** @param text of a checkpoint, with or without signatures */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', encoded = ''] = text.split('\n')
  const root = Buffer.from(encoded, 'base64')
  if (origin === '' || !/^(0|[1-9]\d{0,15})$/.test(size) || root.length !== HASH_BYTES)
    throw new PurserError('data_loss', 'this is no checkpoint: an origin, a size and a root hash, a line each')
  return { origin, size: Number(size), root }
}
