import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { PurserError, toPurserError } from '../../model/errors.ts'

/** A file that the command line names; `-` is standard input. */
export async function readTextFile(path: string): Promise<string> {
  try {
    return path === '-' ? await text(process.stdin) : await readFile(path, 'utf8')
  } catch (cause) {
    const { code } = toPurserError(cause)
    throw new PurserError(code === 'internal' ? 'not_found' : code, `the file ${path} cannot be read`, {
      cause,
      remedy: 'name one that can',
    })
  }
}

export async function readJsonFile(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readTextFile(path))
  } catch (cause) {
    if (cause instanceof PurserError) throw cause
    throw new PurserError('invalid_argument', `${path} is not JSON`, { cause })
  }
}
